package status

import (
	"cmp"
	"fmt"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
)

// ARN makes the resource names that App Mesh had in statuses, without an account behind them. The zero value gives
// arn:local:appmesh:local:000000000000:…; region and account may be set for tools that compare them.
type ARN struct {
	Region, Account string
}

// of returns the name of an object, or nothing for kinds that App Mesh knew no name for.
func (a ARN) of(kind string, p input.Place) string {
	prefix := fmt.Sprintf("arn:local:appmesh:%s:%s:mesh/%s", cmp.Or(a.Region, "local"), cmp.Or(a.Account, "000000000000"), p.Mesh)
	switch kind {
	case "Mesh":
		return prefix
	case "GatewayRoute":
		if p.Gateway == "" {
			return ""
		}
		return prefix + "/virtualGateway/" + p.Gateway + "/gatewayRoute/" + p.Name
	default:
		k := meshv1beta2.KindOf(kind)
		if k == nil || k.Segment == "" {
			return ""
		}
		return prefix + "/" + k.Segment + "/" + p.Name
	}
}

// routes names every route of a router: inline ones, and the Route objects of the given names.
func (a ARN) routes(r *meshv1beta2.VirtualRouter, p input.Place, objects []string) map[string]string {
	base := a.of("VirtualRouter", p)
	names := map[string]string{}
	for _, in := range r.Spec.Routes {
		names[in.Name] = base + "/route/" + in.Name
	}
	for _, name := range objects {
		names[name] = base + "/route/" + name
	}
	if len(names) == 0 {
		return nil
	}
	return names
}
