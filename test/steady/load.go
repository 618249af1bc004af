package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aftermesh/aftermesh/test/echo/order"
)

// load is a steady load that a pod of the mesh sends.
type load struct{ address string }

// send starts the load of a scenario from the front pod of a namespace; finish ends it.
func (s *stage) send(ctx context.Context, namespace, url string, rate float64) error {
	return s.sendFrom(ctx, namespace, "front", order.HTTP{URL: url}, rate)
}

// sendFrom starts one more load, from the pod of an app.
func (s *stage) sendFrom(ctx context.Context, namespace, app string, o order.HTTP, rate float64) error {
	ip, err := s.kubectl.Run(ctx, "-n", namespace, "get", "pods", "-l", "app="+app, "-o", "jsonpath={.items[0].status.podIP}")
	if err != nil {
		return err
	}
	l := &load{"http://" + strings.TrimSpace(ip) + ":19999"}
	if err := l.call(ctx, "/load/stop", struct{}{}, &order.LoadState{}); err != nil {
		return err
	}
	if err := l.answered(ctx, o); err != nil {
		return err
	}
	var state order.LoadState
	if err := l.call(ctx, "/load/start", order.Load{HTTP: o, Rate: rate}, &state); err != nil {
		return err
	}
	if state.Error != "" {
		return errors.New(state.Error)
	}
	s.loads = append(s.loads, l)
	return nil
}

// answered waits until a first request succeeds.
func (l *load) answered(ctx context.Context, o order.HTTP) error {
	const patience = 30 * time.Second
	var last order.HTTPResult
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if err := l.call(ctx, "/request", o, &last); err != nil {
			return err
		}
		if len(last.Groups) == 1 && last.Groups[0].Status == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("%s does not answer after %s: %+v", o.URL, patience, last.Groups)
}

// finish ends the loads.
func (s *stage) finish(ctx context.Context) error {
	var errs []error
	for _, l := range s.loads {
		errs = append(errs, l.call(context.WithoutCancel(ctx), "/load/stop", struct{}{}, &order.LoadState{}))
	}
	s.loads = nil
	return errors.Join(errs...)
}

// states are the counts of all loads.
func (s *stage) states(ctx context.Context) ([]order.Counts, error) {
	out := make([]order.Counts, len(s.loads))
	for i, l := range s.loads {
		var err error
		if out[i], err = l.state(ctx); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (l *load) state(ctx context.Context) (order.Counts, error) {
	var state order.LoadState
	err := l.call(ctx, "/load", struct{}{}, &state)
	return state.Total, err
}

func (l *load) call(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.address+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s%s: %s", l.address, path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// failures are the answers other than 2xx, and the requests without one, between two states.
func failures(before, after order.Counts) map[string]int {
	out := map[string]int{}
	for status, n := range after.Statuses {
		if n -= before.Statuses[status]; n > 0 && !strings.HasPrefix(status, "2") {
			out[status] = n
		}
	}
	for what, n := range after.Errors {
		if n -= before.Errors[what]; n > 0 {
			out[what] = n
		}
	}
	return out
}
