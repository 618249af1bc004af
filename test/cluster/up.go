package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/aftermesh/aftermesh/test/cluster/image"
)

// UpOptions says what cluster Up makes.
type UpOptions struct {
	// IPFamily is "ipv4" (also if empty), "dual" or "ipv6".
	IPFamily string
	// Envoys are the stock Envoy versions whose images are imported; none for DefaultEnvoy.
	Envoys []string
}

// Up makes a healthy cluster of this working copy run: returns at once if it does,
// clears away what is left of a broken one, and makes what is missing.
func (l Layout) Up(ctx context.Context, p *Progress, o UpOptions) error {
	if os.Geteuid() != 0 {
		return errors.New("a node needs root: run the command with sudo")
	}
	unlock, err := lock(ctx, p)
	if err != nil {
		return err
	}
	defer unlock()
	o.IPFamily = cmpOr(o.IPFamily, "ipv4")
	if len(o.Envoys) == 0 {
		o.Envoys = []string{DefaultEnvoy}
	}
	if err := l.mine(); err != nil {
		return err
	}
	switch have, err := l.health(); {
	case err == nil && have.IPFamily == o.IPFamily:
		fmt.Fprintf(p.Out, "Cluster is running (%s). KUBECONFIG=%s\n", have.IPFamily, l.Kubeconfig())
		return nil
	case err == nil:
		return fmt.Errorf("the running cluster is %s: run down first", have.IPFamily)
	case !errors.Is(err, errNone):
		p.Note("clearing a broken cluster (%v)", err)
	}
	if err := l.clear(p); err != nil {
		return err
	}
	if err := l.Install(p, o.Envoys...); err != nil {
		return err
	}
	if err := l.launch(ctx, p, o); err != nil {
		return fmt.Errorf("%w\nThe wreck stays for inspection; down clears it", err)
	}
	p.Note("cluster is up; KUBECONFIG=%s", l.Kubeconfig())
	return nil
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// launch starts everything on a clean machine, in the order of what needs what.
func (l Layout) launch(ctx context.Context, p *Progress, o UpOptions) error {
	s, err := l.settings(o.IPFamily)
	if err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(pidDir(), 0o755), os.MkdirAll(l.state(), 0o755)); err != nil {
		return err
	}
	if err := os.WriteFile(ownerFile(), []byte(l.Root), 0o644); err != nil {
		return err
	}
	pl := &plane{dir: l.state(), records: pidDir(), kube: s.Kube, services: s.Services, advertise: s.Families[0].Node}
	pl.flags = []string{"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--kubelet-certificate-authority=" + l.state("pki", "ca.crt"),
		"--kubelet-client-certificate=" + l.state("pki", "admin.crt"), "--kubelet-client-key=" + l.state("pki", "admin.key"),
		"--kubelet-preferred-address-types=InternalIP",
		// Nothing aggregates, but controller manager and scheduler complain every ten seconds without it.
		"--requestheader-client-ca-file=" + l.state("pki", "ca.crt"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group"}
	for _, f := range s.Families {
		pl.hosts = append(pl.hosts, f.Node, f.First)
	}
	n := &node{Layout: l, settings: s, plane: pl}

	p.Step("Network: bridge %s, pods %s, Services %s", bridge, s.PodCIDRs, s.Services)
	if err := n.network(); err != nil {
		return err
	}
	p.Step("etcd and kube-apiserver")
	if err := pl.start(ctx); err != nil {
		return err
	}
	p.Step("containerd and images")
	if err := n.runtime(ctx); err != nil {
		return err
	}
	if _, err := l.Load(image.Static(l.Bin("pause"), "/pause", pauseImage)); err != nil {
		return err
	}
	p.Step("kube-controller-manager, kube-scheduler, kubelet, kube-proxy")
	if err := errors.Join(n.controllers(), n.kubelet(), n.proxy()); err != nil {
		return err
	}
	for _, version := range o.Envoys {
		if err := l.LoadEnvoy(p, version); err != nil {
			return err
		}
	}
	p.Step("Node and cluster DNS (outside names: %s)", cmpOr(s.Resolvers, "none"))
	if err := n.settle(ctx); err != nil {
		return err
	}
	return l.writeFacts(facts{IPFamily: o.IPFamily, URL: pl.url()}) // last: its presence says that all went well
}

// settle applies cluster DNS and waits until node and DNS are ready.
func (n *node) settle(ctx context.Context) error {
	manifest, err := n.render("dns.yaml")
	if err != nil {
		return err
	}
	if err := n.kubectl(bytes.NewReader(manifest), "apply", "--server-side", "-f", "-"); err != nil {
		return err
	}
	err = await(ctx, time.Minute, "node", n.plane.logs(), n.plane.procs, func() error {
		return n.kubectl(nil, "wait", "--for=condition=Ready", "node/"+nodeName, "--timeout=10s")
	})
	if err != nil {
		return err
	}
	return n.kubectl(nil, "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=60s")
}

// kubectl runs the cluster's kubectl as administrator.
func (n *node) kubectl(stdin *bytes.Reader, args ...string) error {
	cmd := exec.Command(n.Kube, append([]string{"kubectl", "--kubeconfig", n.Kubeconfig()}, args...)...)
	if stdin != nil {
		cmd.Stdin = stdin
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, lastLines(out, 10))
	}
	return nil
}

// facts is what later commands must know of a running cluster. Up writes it when all is done.
type facts struct {
	IPFamily string `json:"ipFamily"`
	URL      string `json:"url"`
}

func (l Layout) writeFacts(f facts) error {
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return os.WriteFile(l.state("facts.json"), data, 0o644)
}

// errNone says that there is nothing of a cluster at all.
var errNone = errors.New("no cluster")

// health returns the facts of this working copy's cluster if all its processes live
// and its API server is ready.
func (l Layout) health() (facts, error) {
	var f facts
	procs := recorded(pidDir())
	if len(procs) == 0 {
		return f, errNone
	}
	for _, p := range procs {
		if !p.alive() {
			return f, fmt.Errorf("%s does not run", p.Name)
		}
	}
	data, err := os.ReadFile(l.state("facts.json"))
	if err != nil {
		return f, errors.New("up did not finish")
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return f, err
	}
	_, err = adminGet(l.state(), f.URL+"/readyz")
	return f, err
}

// IPFamily is that of the cluster that runs: "ipv4", "dual" or "ipv6"; empty when none runs.
func (l Layout) IPFamily() string {
	f, err := l.health()
	if err != nil {
		return ""
	}
	return f.IPFamily
}
