package cluster

import (
	"errors"
	"fmt"
	"io"
)

// Status prints each process and whether the cluster is healthy; an error says that it is not.
func (l Layout) Status(out io.Writer) error {
	if err := l.mine(); err != nil {
		return err
	}
	for _, p := range recorded(pidDir()) {
		state := "dead"
		if p.alive() {
			state = "running"
		}
		fmt.Fprintf(out, "%-24s pid %-7d %s\n", p.Name, p.PID, state)
	}
	f, err := l.health()
	if errors.Is(err, errNone) {
		return errors.New("no cluster runs")
	}
	if err != nil {
		return fmt.Errorf("cluster is broken: %w", err)
	}
	fmt.Fprintf(out, "healthy, %s, %s\nkubeconfig %s\nkubectl    %s\nlogs       %s\n",
		f.IPFamily, f.URL, l.Kubeconfig(), l.Bin("kubectl"), l.state("logs"))
	return nil
}
