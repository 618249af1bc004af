package cli

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// readyInterval is how often the proxy is asked: an application waits at most this much longer than it must.
const readyInterval = 100 * time.Millisecond

func newWaitReady() *cobra.Command {
	var url string
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "wait-ready",
		Short: "Wait until a proxy has its configuration",
		Long: `Runs as the postStart hook of a proxy that is an ordinary container: kubelet starts the next container only when the hook has ended.
It asks the address until it answers 200, or fails when the time is over.`,
		Args: atMost(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			return waitReady(ctx, url, timeout)
		},
	}
	c.Flags().StringVar(&url, "url", "http://127.0.0.1:9901/ready", "address to ask")
	c.Flags().DurationVar(&timeout, "timeout", 180*time.Second, "how long to wait")
	return c
}

func waitReady(ctx context.Context, url string, timeout time.Duration) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return usageError{fmt.Errorf("--url %q: %w", url, err)}
	}
	for {
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("it answers %s", response.Status)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %s: %w", url, timeout, err)
		case <-time.After(readyInterval):
		}
	}
}
