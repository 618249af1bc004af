package controllers

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/aftermesh/aftermesh/pkg/lifetime"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/source"
)

// loop turns changes of the source into passes of the pipeline. The first change after quiet starts a pass at once; what arrives
// while a pass runs is merged into the next one, and between passes it rests as long as the last one took, so that a storm
// of changes takes at most half of one core.
type loop struct {
	source   *source.Cluster
	pipeline *pipeline.Pipeline
	log      logr.Logger
	memory   lifetime.Memory
	// unresolvable returns the zones of names of ours that the cluster's DNS does not know.
	unresolvable func() []string
	// stepped is called after each pass.
	stepped func(*pipeline.Snapshot)
}

const (
	minRest = time.Millisecond
	maxRest = 200 * time.Millisecond
)

// NeedLeaderElection is false: every replica serves.
func (l *loop) NeedLeaderElection() bool { return false }

// Start runs until ctx ends.
func (l *loop) Start(ctx context.Context) error {
	if !l.source.Wait(ctx) {
		return nil
	}
	l.log.Info("Caches synced")
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.source.Changed():
		}
		start := time.Now()
		s, err := l.pass()
		took := time.Since(start)
		if err != nil {
			panics.WithLabelValues("pipeline").Inc()
			l.log.Error(err, "Pass failed; everything goes on with the configuration before")
		} else {
			containment{l.log, "pipeline"}.run(func() { l.observe(s, took); l.stepped(s) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(min(max(took, minRest), maxRest)):
		}
	}
}

// pass runs one pass. A panic in it is an error of ours, which must not end the service of what is known already.
func (l *loop) pass() (s *pipeline.Snapshot, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("memory of accepted objects: panic: %v\n%s", reason, debug.Stack())
		}
	}()
	in := l.memory.Objects(l.source.Objects())
	in.Unresolvable = l.unresolvable()
	if s, err = l.pipeline.Try(in); err == nil {
		l.memory.Note(s.Objects, s.Result)
	}
	return s, err
}

func (l *loop) observe(s *pipeline.Snapshot, took time.Duration) {
	stageSeconds.WithLabelValues("compile").Observe(s.Compile.Seconds())
	stageSeconds.WithLabelValues("translate").Observe(s.Translate.Seconds())
	stageSeconds.WithLabelValues("pass").Observe(took.Seconds())
	groupCount.Set(float64(len(s.Sets)))
	problemCount.Set(float64(len(s.Result.Problems)))
	countOutside(s.Result.Outside)
	for group, err := range s.Failed {
		l.log.Error(err, "Group kept its last configuration", "group", group)
		failedGroups.Inc()
	}
	l.log.V(1).Info("Pass", "seq", s.Seq, "groups", len(s.Sets), "changed", s.Changed, "problems", len(s.Result.Problems), "duration", took)
}

var (
	stageSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "aftermesh_pass_seconds", Help: "Time of the stages of a pass: compile, translate, and the pass as a whole.",
		Buckets: prometheus.ExponentialBuckets(0.0002, 2, 14),
	}, []string{"stage"})
	groupCount = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "aftermesh_groups", Help: "Groups of proxies with a configuration.",
	})
	problemCount = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "aftermesh_problems", Help: "Faults found in objects by the last pass.",
	})
	panics = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "aftermesh_panics_total", Help: "Panics that were contained, by place. Each is a fault of the operator.",
	}, []string{"where"})
	failedGroups = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "aftermesh_failed_groups_total", Help: "Groups that could not be translated and kept their last configuration.",
	})
)

// collectors are the operator's own metrics.
func collectors() []prometheus.Collector {
	return []prometheus.Collector{stageSeconds, groupCount, problemCount, failedGroups, podsOutside, panics}
}
