package attack

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"

	"github.com/aftermesh/aftermesh/pkg/xds"
)

// attacks are all of them, by name. They end when their context does.
var attacks = merged(atXDS, ofProxies, atWebhooks, atDNS)

func merged(all ...map[string]func(context.Context, *target)) map[string]func(context.Context, *target) {
	out := map[string]func(context.Context, *target){}
	for _, m := range all {
		maps.Copy(out, m)
	}
	return out
}

// atXDS are attacks at the xDS port that need no credential.
var atXDS = map[string]func(context.Context, *target){
	"connections that say nothing": func(ctx context.Context, x *target) { crowd(ctx, 400, x.silent) },
	"handshakes": func(ctx context.Context, x *target) {
		crowd(ctx, 64, func(ctx context.Context, i int) {
			if c := secure(ctx, from(i), x.XDS, "h2"); c != nil {
				_ = c.Close()
			}
		})
	},
	"endless headers": func(ctx context.Context, x *target) {
		const most = 64 << 20
		crowd(ctx, 60, func(ctx context.Context, i int) {
			c := secure(ctx, from(i), x.XDS, "h2")
			if c == nil {
				return
			}
			defer until(ctx, c)()
			if sent := endlessHeaders(c, most); sent >= most {
				x.complain("%d bytes of headers were taken", sent)
			}
		})
	},
	"streams without a token":     func(ctx context.Context, x *target) { manyStreams(ctx, x, "") },
	"streams with a false token":  func(ctx context.Context, x *target) { manyStreams(ctx, x, strings.Repeat("x", 1000)) },
	"streams with a forged token": func(ctx context.Context, x *target) { manyStreams(ctx, x, forged) },
	"large first messages": func(ctx context.Context, x *target) {
		name := strings.Repeat("n", 3<<20)
		crowd(ctx, 40, func(ctx context.Context, i int) {
			x.session(ctx, i, "", func(s *stream) {
				defer time.AfterFunc(time.Second, s.end).Stop()
				if s.subscribe(xds.EndpointType, name) == nil {
					if m, err := s.Recv(); err == nil {
						x.complain("a stranger was answered: %s", names(m))
					}
				}
			})
		})
	},
}

// silent opens a connection and says nothing until the server has had enough.
func (x *target) silent(ctx context.Context, i int) {
	c, err := dialer(from(i)).DialContext(ctx, "tcp", x.XDS)
	if err != nil {
		return
	}
	defer until(ctx, c)()
	_, _ = c.Read(make([]byte, 1))
}

// forged is a token that nobody has signed, with a key that does not exist.
const forged = "eyJhbGciOiJSUzI1NiIsImtpZCI6Im5vYm9keSJ9.eyJhdWQiOlsiYWZ0ZXJtZXNoIl19.AAAA"

func manyStreams(ctx context.Context, x *target, token string) {
	crowd(ctx, 60, func(ctx context.Context, i int) {
		conn := x.dial(i)
		defer conn.Close()
		const most = 1000
		for range most {
			s, err := open(ctx, conn, token)
			if err != nil {
				return
			}
			if s.subscribe(xds.EndpointType, strings.Repeat("n", 60_000)) != nil {
				s.end()
				return
			}
		}
	})
}

// TestStrangersAtTheXDSPort: who has no credential takes nothing from others.
func TestStrangersAtTheXDSPort(t *testing.T) {
	w := start(t)
	for _, name := range slices.Sorted(maps.Keys(atXDS)) {
		t.Run(name, func(t *testing.T) { w.under(t, name) })
	}
}

func many(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%06x", prefix, i)
	}
	return out
}

// ofProxies are attacks with the tokens of some pods.
var ofProxies = map[string]func(context.Context, *target){
	"many streams": func(ctx context.Context, x *target) {
		crowd(ctx, 200, func(ctx context.Context, i int) {
			x.session(ctx, i, x.token(i), func(s *stream) {
				if s.subscribe(xds.ClusterType) == nil {
					_, _ = s.next(xds.EndpointType, time.Second) // which it does not ask for
				}
			})
		})
	},
	"strangers behind the addresses of known proxies": func(ctx context.Context, x *target) {
		crowd(ctx, 400+sources, func(ctx context.Context, i int) {
			if i >= sources {
				x.silent(ctx, i)
				return
			}
			x.session(ctx, i, x.token(i), func(s *stream) {
				if s.subscribe(xds.ClusterType) == nil {
					_, _ = s.next(xds.EndpointType, 3*time.Second) // which it does not ask for
				}
			})
		})
	},
	"names that do not exist": func(ctx context.Context, x *target) {
		list := many("", 200_000)
		crowd(ctx, 2*sources, func(ctx context.Context, i int) {
			x.session(ctx, i, x.token(i), func(s *stream) {
				const often = 20
				for range often {
					if s.subscribe(xds.EndpointType, list...) != nil {
						break
					}
				}
				_, _ = s.next(xds.ListenerType, time.Second)
			})
		})
	},
	"messages that never end": func(ctx context.Context, x *target) {
		list := many("", 100_000)
		crowd(ctx, 4*sources, func(ctx context.Context, i int) {
			x.session(ctx, i, x.token(i), func(s *stream) {
				if s.subscribe(xds.EndpointType, list...) == nil {
					_, _ = s.Recv()
				}
			}, stalls(ctx, i, 900_000))
		})
	},
	"refusals of everything, at length": func(ctx context.Context, x *target) {
		list := many("name", 1000)
		text := (strings.Join(list, ": ") + strings.Repeat(strings.Join(list, " "), 200))[:1<<20]
		crowd(ctx, 2*sources, func(ctx context.Context, i int) {
			x.session(ctx, i, x.token(i), func(s *stream) {
				if s.subscribe(xds.ClusterType) != nil || s.subscribe(xds.EndpointType, list...) != nil {
					return
				}
				for {
					m, err := s.Recv()
					if err != nil || s.refuse(m, text) != nil {
						return
					}
				}
			})
		})
	},
	"many small requests": func(ctx context.Context, x *target) {
		crowd(ctx, 2*sources, func(ctx context.Context, i int) {
			x.session(ctx, i, x.token(i), func(s *stream) {
				const most = 1_000_000
				for n := 0; n < most && s.subscribe(xds.EndpointType, fmt.Sprint("n", n)) == nil; n++ {
				}
			})
		})
	},
}

// refuse answers a response as Envoy does when it cannot use it.
func (s *stream) refuse(m *discoveryv3.DeltaDiscoveryResponse, text string) error {
	return s.Send(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: m.GetTypeUrl(), ResponseNonce: m.GetNonce(), ErrorDetail: &status.Status{Code: 13, Message: text},
	})
}

// node is a VirtualNode of the attacker.
const node = `
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: node, namespace: evil}
spec:
  podSelector: {matchLabels: {app: node}}
  listeners: [{portMapping: {port: 8080, protocol: http}}]
  serviceDiscovery: {dns: {hostname: node.evil.svc.cluster.local}}
`

// TestACompromisedProxy: who has the tokens of pods takes no more than proxies need.
func TestACompromisedProxy(t *testing.T) {
	w := start(t)
	w.must(t, w.Evil, node)
	var tokens []string
	for i := range sources {
		p := w.pod(t, w.Evil, evil, fmt.Sprintf("node-%d", i), map[string]string{"app": "node"}, nil)
		if _, err := w.fetch(t, p, xds.ClusterType); err != nil {
			t.Fatalf("a proxy of the tenant is not served: %v", err)
		}
		tokens = append(tokens, p.Token)
	}
	for _, name := range slices.Sorted(maps.Keys(ofProxies)) {
		t.Run(name, func(t *testing.T) { w.under(t, name, tokens...) })
	}
}
