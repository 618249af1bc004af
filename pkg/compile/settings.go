package compile

import (
	"time"

	meshv1alpha1 "github.com/aftermesh/aftermesh/api/v1alpha1"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// The defaults of MeshSettings. NAT gateways and network load balancers of AWS forget connections after 350 s, load balancers of Azure
// after 240 s.
const (
	keepAliveIdle     = 120
	keepAliveInterval = 30
	keepAliveProbes   = 4
)

// Bounds of the schema, for what came from files.
const (
	maxHeaderKiB     = 240
	maxHeaders       = 1000
	maxTrustedHops   = 16
	maxKeepAlive     = 32767
	maxKeepAliveTest = 127
)

// useSettings reads what MeshSettings say of each mesh.
func (b *builder) useSettings() {
	of := map[string]*meshv1alpha1.MeshSettings{}
	for s := range input.All[*meshv1alpha1.MeshSettings](b.in) {
		of[s.Name] = s
	}
	for _, m := range b.meshes {
		spec := meshv1alpha1.MeshSettingsSpec{}
		if s := of[m.object.Name]; s != nil {
			spec = s.Spec
		}
		m.keepAlive = keepAlive(spec.KeepAlive)
		if h := spec.HTTP; h != nil {
			m.http = httpOptions(h)
			m.trustedHops = bounded(h.TrustedHops, 0, 0, maxTrustedHops)
		}
	}
}

func httpOptions(h *meshv1alpha1.HTTPSettings) mesh.HTTPOptions {
	out := mesh.HTTPOptions{
		KeepHeaderCase:   h.HeaderCase != nil && *h.HeaderCase == meshv1alpha1.HeaderCasePreserve,
		PassServerHeader: h.Server != nil && *h.Server == meshv1alpha1.ServerHeaderPassThrough,
		RefuseHTTP10:     h.HTTP10 != nil && *h.HTTP10 == meshv1alpha1.HTTP10Refuse,
	}
	if l := h.HeaderLimits; l != nil {
		out.MaxHeaderKiB, out.MaxHeaders = bounded(l.Kibibytes, 0, 1, maxHeaderKiB), bounded(l.Count, 0, 1, maxHeaders)
	}
	return out
}

func keepAlive(k *meshv1alpha1.KeepAliveSettings) *mesh.KeepAlive {
	if k == nil {
		k = &meshv1alpha1.KeepAliveSettings{}
	}
	idle := bounded(k.IdleSeconds, keepAliveIdle, 0, maxKeepAlive)
	if idle == 0 {
		return nil
	}
	return &mesh.KeepAlive{
		Idle:     time.Duration(idle) * time.Second,
		Interval: time.Duration(bounded(k.IntervalSeconds, keepAliveInterval, 1, maxKeepAlive)) * time.Second,
		Probes:   bounded(k.Probes, keepAliveProbes, 1, maxKeepAliveTest),
	}
}

// bounded returns a number, or the default where there is none.
func bounded(n *int32, usual, least, most uint32) uint32 {
	if n == nil {
		return usual
	}
	return min(max(uint32(max(*n, 0)), least), most)
}
