package corpus

import (
	"context"
	"fmt"
	"regexp"
	"strings"
)

// checkHealth compares the health of the clusters of a workload's proxies, as their membership tells it: "healthy" with all hosts in
// use, "failed_active_hc" with hosts of which none is.
func (t *run) checkHealth(ctx context.Context, c Check) error {
	var want string
	if err := c.Expect.Decode(&want); err != nil {
		return err
	}
	if want != "healthy" && want != "failed_active_hc" {
		return fmt.Errorf("expect: %q is neither healthy nor failed_active_hc", want)
	}
	ns, name, _ := strings.Cut(c.Workload, "/")
	pods, err := t.kube.pods(ctx, ns, name)
	if err != nil {
		return err
	}
	all, err := regexp.Compile(`^cluster\.(` + c.Cluster + `)\.membership_(total|healthy)$`)
	if err != nil {
		return err
	}
	for _, p := range pods {
		values, err := statistics(ctx, p.Status.PodIP, all)
		if err != nil {
			return err
		}
		found := false
		for stat, total := range values {
			cluster, isTotal := strings.CutSuffix(stat, ".membership_total")
			if !isTotal {
				continue
			}
			found = true
			healthy := values[cluster+".membership_healthy"]
			if total == 0 || want == "healthy" && healthy != total || want == "failed_active_hc" && healthy != 0 {
				return fmt.Errorf("pod %s: %v of %v hosts of %s are healthy, expected %s", p.Name, healthy, total, cluster, want)
			}
		}
		if !found {
			return fmt.Errorf("pod %s has no cluster %s", p.Name, c.Cluster)
		}
	}
	return nil
}

// checkMetric looks for a metric with labels among those that the proxies of a workload show to Prometheus.
func (t *run) checkMetric(ctx context.Context, c Check) error {
	var want struct {
		Labels      []string
		LabelValues map[string]string `yaml:"labelValues"`
		Present     *bool
	}
	if err := decodeNode(&c.Expect, &want); err != nil {
		return err
	}
	ns, name, _ := strings.Cut(c.Workload, "/")
	pods, err := t.kube.pods(ctx, ns, name)
	if err != nil {
		return err
	}
	for _, p := range pods {
		text, err := admin(ctx, p.Status.PodIP, "/stats/prometheus")
		if err != nil {
			return err
		}
		if present := hasMetric(string(text), c.Metric, want.Labels, want.LabelValues); present != (want.Present == nil || *want.Present) {
			return fmt.Errorf("pod %s: metric %s with the labels %v %v is there: %v", p.Name, c.Metric, want.Labels, want.LabelValues, present)
		}
	}
	return nil
}

// hasMetric finds a line of Prometheus' text format that has all labels, and the given values of some.
func hasMetric(text, metric string, labels []string, values map[string]string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		rest, ok := strings.CutPrefix(line, metric+"{")
		if !ok {
			continue
		}
		all := true
		for _, l := range labels {
			all = all && hasLabel(rest, l+`="`)
		}
		for l, v := range values {
			all = all && hasLabel(rest, l+`="`+v+`"`)
		}
		if all {
			return true
		}
	}
	return false
}

func hasLabel(line, label string) bool {
	return strings.HasPrefix(line, label) || strings.Contains(line, ","+label)
}
