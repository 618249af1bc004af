package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/nameserver"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
)

const (
	// resolvePeriod is how often the cluster's DNS is asked whether it knows our zones.
	resolvePeriod = 15 * time.Second
	// resolveTimeout bounds one question, maxResolved their number per round.
	resolveTimeout = 2 * time.Second
	maxResolved    = 100
)

// hosts is what a replica knows about names: the table it answers from, and the zones that the cluster's DNS does not know.
type hosts struct {
	table        atomic.Pointer[nameserver.Table]
	last         atomic.Pointer[[]mesh.Name]
	unresolvable atomic.Pointer[[]string]
	changed      chan struct{}
}

// note takes the hosts of a pass.
func (h *hosts) note(s *pipeline.Snapshot, server string) {
	now := s.Result.Model.Names
	if last := h.last.Load(); last != nil && slices.EqualFunc(*last, now, sameHost) {
		return
	}
	h.table.Store(nameserver.NewTable(now, server))
	h.last.Store(&now)
	trigger(h.changed)
}

func sameHost(x, y mesh.Name) bool {
	return x.Name == y.Name && x.Zone == y.Zone && slices.Equal(x.Addresses, y.Addresses)
}

// zones returns the zones that the cluster's DNS does not know, sorted.
func (h *hosts) zones() []string {
	if z := h.unresolvable.Load(); z != nil {
		return *z
	}
	return nil
}

// serveDNS adds the DNS server, which every replica runs, and asks the cluster's DNS whether it sends questions there.
func (op *operator) serveDNS(context.Context, *rest.Config) error {
	server := &nameserver.Server{Address: fmt.Sprintf(":%d", op.DNSPort), Table: op.hosts.table.Load, Panicked: op.panicked("dns")}
	return errors.Join(
		op.manager.Add(everywhere(func(ctx context.Context) error {
			select { // no table yet
			case <-ctx.Done():
				return nil
			case <-op.served:
				return server.Run(ctx)
			}
		})),
		op.manager.Add(everywhere(op.resolveZones)),
	)
}

// resolveZones asks the cluster's DNS for one name of each zone, from time to time and when names change. A change of what it knows
// starts a pass, so that conditions tell.
func (op *operator) resolveZones(ctx context.Context) error {
	tick := time.NewTicker(resolvePeriod)
	defer tick.Stop()
	resolver := &net.Resolver{PreferGo: true}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-op.hosts.changed:
		}
		last := op.hosts.last.Load()
		if last == nil {
			continue
		}
		before := op.hosts.zones()
		now := before
		containment{op.log.WithName("dns"), "dns"}.run(func() {
			now = unresolvable(ctx, *last, before, func(ctx context.Context, name string) error {
				_, err := resolver.LookupNetIP(ctx, "ip", name)
				return err
			})
		})
		if !slices.Equal(before, now) {
			op.hosts.unresolvable.Store(&now)
			op.source.Again()
		}
	}
}

// unresolvable returns the zones of which lookup finds nothing. A zone about which nothing can be learned stays as it was.
func unresolvable(ctx context.Context, list []mesh.Name, before []string, lookup func(context.Context, string) error) []string {
	var out []string
	zones := nameserver.Zones(list)
	for i, zone := range slices.Sorted(maps.Keys(zones)) {
		if i == maxResolved {
			break
		}
		asking, cancel := context.WithTimeout(ctx, resolveTimeout)
		err := lookup(asking, zones[zone]+".")
		cancel()
		var fault *net.DNSError
		switch _, was := slices.BinarySearch(before, zone); {
		case err == nil:
		case errors.As(err, &fault) && fault.IsNotFound, was:
			out = append(out, zone)
		}
	}
	return out
}
