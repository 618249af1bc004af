package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/aftermesh/aftermesh/test/install"
)

// step is one position of the canary.
type step struct {
	file  string
	green float64
	// tolerance of the share, in parts of one: requests and verdict both follow from it.
	tolerance float64
}

const (
	// tolerance is the bar of the demo; quickTolerance that of a quick run, which makes fewer requests.
	tolerance, quickTolerance = 0.03, 0.06
	// settled is the bar for a change: kubectl has returned, and every proxy has acknowledged.
	settled = time.Second
	// rate is the least load under which the weights must change without a failure, in requests per second.
	rate = 200
)

// needed returns how many requests make five standard deviations of the share fit into the tolerance: a share outside of it is not chance.
func (s step) needed() int {
	const deviations = 5
	n := s.green * (1 - s.green) * deviations * deviations / (s.tolerance * s.tolerance)
	const least = 1000
	return max(least, int(math.Ceil(n)))
}

// counts are what the caller has seen since its start.
type counts struct {
	Answers, Failures map[string]int
}

func (c counts) total() int {
	n := 0
	for _, v := range c.Answers {
		n += v
	}
	for _, v := range c.Failures {
		n += v
	}
	return n
}

func (c counts) failures() int {
	n := 0
	for _, v := range c.Failures {
		n += v
	}
	return n
}

// canary moves the weights and prints a row per step. It fails when a figure misses its bar.
func (d *demo) canary(ctx context.Context) error {
	begin, err := d.stats(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	bar := tolerance
	if d.quick {
		bar = quickTolerance
	}
	steps := []step{{"router-90-10.yaml", 0.1, bar}, {"router-50-50.yaml", 0.5, bar}, {"router-0-100.yaml", 1, bar}}
	fmt.Fprintf(d.out, "\n  %-14s %9s %7s %7s %7s %9s %12s\n", "kubectl apply", "requests", "blue", "green", "failed", "per sec", "programmed")
	var missed []error
	for _, s := range steps {
		if err := d.move(ctx, s); err != nil {
			if ctx.Err() != nil {
				return err
			}
			missed = append(missed, err)
		}
	}
	end, err := d.stats(ctx)
	if err != nil {
		return err
	}
	total, failed := end.total()-begin.total(), end.failures()-begin.failures()
	perSecond := float64(total) / time.Since(began).Seconds()
	fmt.Fprintf(d.out, "\n  %d requests at %.0f per second while the weights changed, %d failed\n\n", total, perSecond, failed)
	if failed > 0 {
		missed = append(missed, fmt.Errorf("%d requests failed: %v", failed, end.Failures))
	}
	if perSecond < rate {
		missed = append(missed, fmt.Errorf("only %.0f requests per second, the bar is %d", perSecond, rate))
	}
	return errors.Join(missed...)
}

// move applies one step, waits until every proxy runs it, and counts who answers from then on.
func (d *demo) move(ctx context.Context, s step) error {
	if _, err := d.kubectl(ctx, "apply", "-f", filepath.Join(install.Root(d.layout), samples, s.file)); err != nil {
		return err
	}
	applied := time.Now()
	if err := d.programmed(ctx); err != nil {
		return err
	}
	took := time.Since(applied)
	from, err := d.stats(ctx)
	if err != nil {
		return err
	}
	started := time.Now()
	const patience = 3 * time.Minute
	for {
		now, err := d.stats(ctx)
		if err != nil {
			return err
		}
		n := now.total() - from.total()
		green, blue := now.Answers["green"]-from.Answers["green"], now.Answers["blue"]-from.Answers["blue"]
		failed := now.failures() - from.failures()
		fmt.Fprintf(d.out, "\r  %-14s %9d %6.1f%% %6.1f%% %7d %9.0f %9d ms", strings.TrimSuffix(strings.TrimPrefix(s.file, "router-"), ".yaml"), n,
			share(blue, n), share(green, n), failed, float64(n)/time.Since(started).Seconds(), took.Milliseconds())
		if n >= s.needed() {
			fmt.Fprintln(d.out)
			return s.judge(green, n, took)
		}
		if time.Since(started) > patience {
			return fmt.Errorf("%s: only %d of %d requests in %s", s.file, n, s.needed(), patience)
		}
		time.Sleep(time.Second)
	}
}

func share(part, all int) float64 {
	const percent = 100
	return percent * float64(part) / float64(max(all, 1))
}

// judge compares a step with its bars.
func (s step) judge(green, n int, took time.Duration) error {
	var missed []error
	if got := float64(green) / float64(n); math.Abs(got-s.green) > s.tolerance {
		missed = append(missed, fmt.Errorf("%s: green answered %.1f %%, expected %.0f ± %.0f", s.file, 100*got, 100*s.green, 100*s.tolerance))
	}
	if took > settled {
		missed = append(missed, fmt.Errorf("%s: programmed after %s, the bar is %s", s.file, took, settled))
	}
	return errors.Join(missed...)
}

// programmed waits until the router says that every proxy runs its present generation.
func (d *demo) programmed(ctx context.Context) error {
	const patience = 30 * time.Second
	var last string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		out, err := d.kubectl(ctx, "-n", "demo", "get", "virtualrouter", "color", "-o", "json")
		if err != nil {
			return err
		}
		var r struct {
			Metadata struct{ Generation int64 }
			Status   struct {
				Conditions []struct {
					Type, Status, Message string
					ObservedGeneration    int64
				}
			}
		}
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			return err
		}
		for _, c := range r.Status.Conditions {
			if c.Type != "Programmed" {
				continue
			}
			last = c.Message
			if c.Status == "True" && c.ObservedGeneration == r.Metadata.Generation {
				return nil
			}
		}
	}
	return fmt.Errorf("VirtualRouter demo/color is not programmed after %s: %s", patience, last)
}

// stats asks the caller for its counts, through the API server so that pods need not be reachable from here.
func (d *demo) stats(ctx context.Context) (counts, error) {
	name, err := d.kubectl(ctx, "-n", "demo", "get", "pods", "-l", "app=front", "--field-selector=status.phase=Running", "-o", "jsonpath={.items[0].metadata.name}")
	if err != nil {
		return counts{}, err
	}
	out, err := d.kubectl(ctx, "get", "--raw", "/api/v1/namespaces/demo/pods/"+name+":19999/proxy/")
	if err != nil {
		return counts{}, err
	}
	var c counts
	return c, json.Unmarshal([]byte(out), &c)
}
