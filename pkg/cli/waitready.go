package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// readyInterval is how often the proxy is asked: an application waits at most this much longer than it must.
const readyInterval = 20 * time.Millisecond

// patient is how long a wait is nothing special.
const patient = 5 * time.Second

func newWaitReady() *cobra.Command {
	var address string
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "wait-ready",
		Short: "Wait until a proxy has its configuration",
		Long: `Runs as the postStart hook of a proxy that is an ordinary container: kubelet starts the next container only when the hook has ended.
It asks the address until it answers 200, or fails when the time is over.`,
		Example: `  aftermesh wait-ready --url http://127.0.0.1:9901/ready --timeout 3m`,
		Args:    atMost(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := goodAddress("--url", address); err != nil {
				return err
			}
			return waitReady(c.Context(), c.OutOrStdout(), address, timeout)
		},
	}
	c.Flags().StringVar(&address, "url", "http://127.0.0.1:9901/ready", "address to ask")
	c.Flags().DurationVar(&timeout, "timeout", 180*time.Second, "how long to wait; 0 sets no limit")
	return c
}

// goodAddress refuses an address that no request can be sent to.
func goodAddress(flag, address string) error {
	if u, err := url.Parse(address); err != nil || u.Scheme != "http" || u.Host == "" {
		return usageError{fmt.Errorf("%s %q is not of the form http://host:port/path", flag, address)}
	}
	return nil
}

// waitReady asks until the address answers 200. It says so when that takes long.
func waitReady(ctx context.Context, out io.Writer, address string, timeout time.Duration) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return usageError{fmt.Errorf("address %q: %w", address, err)}
	}
	const hint = "can this pod reach the control plane? See the log of container envoy"
	start, said := time.Now(), false
	var last error // what the address answered; that the time ran out during a later request says less
	for {
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("it answers %s", response.Status)
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		err = last
		if !said && time.Since(start) > patient {
			said = true
			fmt.Fprintf(out, "still waiting for the proxy's first configuration after %v (%v); %s\n", patient, err, hint)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the proxy has no configuration after %v, %s is not ready: %w; %s", time.Since(start).Round(time.Second), address, err, hint)
		case <-time.After(readyInterval):
		}
	}
}
