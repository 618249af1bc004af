package main

import (
	"context"
	"embed"
	"fmt"
	"time"
)

//go:embed manifests
var manifests embed.FS

// apply writes a manifest of this folder to the cluster.
func (s *stage) apply(ctx context.Context, name string) error {
	b, err := manifests.ReadFile("manifests/" + name)
	if err != nil {
		return err
	}
	return s.applyText(ctx, string(b))
}

// discard takes the objects of a manifest away again, without waiting until they are gone.
func (s *stage) discard(ctx context.Context, name string) error {
	b, err := manifests.ReadFile("manifests/" + name)
	if err != nil {
		return err
	}
	return s.onText(ctx, string(b), "delete", "--ignore-not-found", "--wait=false")
}

// fresh removes what an earlier run left of a namespace.
func (s *stage) fresh(ctx context.Context, namespace string) error {
	_, err := s.kubectl.Run(ctx, "delete", "namespace", namespace, "--ignore-not-found", "--timeout=120s")
	return err
}

// rolled waits until deployments run.
func (s *stage) rolled(ctx context.Context, namespace string, names ...string) error {
	for _, name := range names {
		if _, err := s.kubectl.Run(ctx, "-n", namespace, "rollout", "status", "deployment/"+name, "--timeout=120s"); err != nil {
			return err
		}
	}
	return nil
}

// patch changes an object and waits until every proxy runs the change.
func (s *stage) patch(ctx context.Context, namespace, object, patch string) error {
	if _, err := s.kubectl.Run(ctx, "-n", namespace, "patch", object, "--type=merge", "-p", patch); err != nil {
		return err
	}
	return s.programmed(ctx, namespace, object)
}

// programmed waits until every proxy runs the present generation of an object; kubectl compares the condition's generation.
func (s *stage) programmed(ctx context.Context, namespace, object string) error {
	_, err := s.kubectl.Run(ctx, "-n", namespace, "wait", "--for=condition=Programmed", object, "--timeout=30s")
	return err
}

const changesNamespace = "steady-changes"

// route gives two nodes their weights.
func (s *stage) route(ctx context.Context, a string, wa int, b string, wb int) error {
	return s.patch(ctx, changesNamespace, "virtualrouter/color", fmt.Sprintf(`{"spec":{"routes":[{"name":"color","httpRoute":{"match":{"prefix":"/"},"action":{"weightedTargets":[`+
		`{"virtualNodeRef":{"name":%q},"weight":%d},{"virtualNodeRef":{"name":%q},"weight":%d}]}}}]}}`, a, wa, b, wb))
}

// changes edits a mesh in every way that must not cost a request.
func (s *stage) changes(ctx context.Context) error {
	if err := s.fresh(ctx, changesNamespace); err != nil {
		return err
	}
	if err := s.apply(ctx, "changes.yaml"); err != nil {
		return err
	}
	if err := s.rolled(ctx, changesNamespace, "front", "blue", "green", "red"); err != nil {
		return err
	}
	if err := s.route(ctx, "blue", 50, "green", 50); err != nil {
		return err
	}
	if err := s.send(ctx, changesNamespace, "http://color."+changesNamespace+".svc.cluster.local:8080/", s.rate); err != nil {
		return err
	}
	defer func() { _ = s.finish(ctx) }()
	for _, st := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"weights flip 40 times", s.flip},
		{"a node is swapped in the route 10 times", s.swap},
		{"a health check is edited 8 times", s.healthCheck},
		{"a node is deleted and created again 5 times", s.deleteNode},
		{"a node that is in use is deleted, created again 3 times", s.deleteUsedNode},
		{"10 rolling restarts of a backend", s.restarts},
		{"weights flip until all requests are sent", s.rest},
	} {
		if err := s.step(ctx, "changes", st.what, func() error { return st.do(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) flip(ctx context.Context) error {
	for i := range 40 {
		if err := s.route(ctx, "blue", 100*(i%2), "green", 100-100*(i%2)); err != nil {
			return err
		}
	}
	return s.route(ctx, "blue", 50, "green", 50)
}

func (s *stage) swap(ctx context.Context) error {
	for i := range 10 {
		if err := s.route(ctx, "blue", 50, []string{"red", "green"}[i%2], 50); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) healthCheck(ctx context.Context) error {
	edit := func(check string) error {
		return s.patch(ctx, changesNamespace, "virtualnode/blue", `{"spec":{"listeners":[{"portMapping":{"port":8080,"protocol":"http"}`+check+`}]}}`)
	}
	for i := range 4 {
		if err := edit(fmt.Sprintf(`,"healthCheck":{"protocol":"http","path":"/ping%d","intervalMillis":%d,"timeoutMillis":2000,"healthyThreshold":2,"unhealthyThreshold":2}`, i, 5000+1000*i)); err != nil {
			return err
		}
		time.Sleep(2 * time.Second) // first checks are made
		if err := edit(""); err != nil {
			return err
		}
	}
	return nil
}

// deleteNode takes a node out of the route before it is deleted, as a careful user does.
func (s *stage) deleteNode(ctx context.Context) error {
	for range 5 {
		if err := s.route(ctx, "blue", 100, "red", 0); err != nil {
			return err
		}
		if _, err := s.kubectl.Run(ctx, "-n", changesNamespace, "delete", "virtualnode/green", "--timeout=60s"); err != nil {
			return err
		}
		if err := s.apply(ctx, "green.yaml"); err != nil {
			return err
		}
		if err := s.route(ctx, "blue", 50, "green", 50); err != nil {
			return err
		}
	}
	return nil
}

// deleteUsedNode deletes a node that takes half of the traffic; it goes on until the route lets it go.
func (s *stage) deleteUsedNode(ctx context.Context) error {
	for range 3 {
		if _, err := s.kubectl.Run(ctx, "-n", changesNamespace, "delete", "virtualnode/green", "--wait=false"); err != nil {
			return err
		}
		time.Sleep(3 * time.Second) // it is served all the while
		if err := s.route(ctx, "blue", 100, "red", 0); err != nil {
			return err
		}
		if _, err := s.kubectl.Run(ctx, "-n", changesNamespace, "wait", "--for=delete", "virtualnode/green", "--timeout=60s"); err != nil {
			return err
		}
		if err := s.apply(ctx, "green.yaml"); err != nil {
			return err
		}
		if err := s.route(ctx, "blue", 50, "green", 50); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) restarts(ctx context.Context) error {
	for range 10 {
		if _, err := s.kubectl.Run(ctx, "-n", changesNamespace, "rollout", "restart", "deployment/blue"); err != nil {
			return err
		}
		if err := s.rolled(ctx, changesNamespace, "blue"); err != nil {
			return err
		}
	}
	return nil
}

// rest flips weights once a second until as many requests as ordered are sent.
func (s *stage) rest(ctx context.Context) error {
	longest := time.Now().Add(2 * time.Duration(float64(s.requests)/s.rate*float64(time.Second)))
	for i := 0; time.Now().Before(longest); i++ {
		n, err := s.loads[0].state(ctx)
		if err != nil || n.Requests >= s.requests {
			return err
		}
		if err := s.route(ctx, "blue", 100*(i%2), "green", 100-100*(i%2)); err != nil {
			return err
		}
		time.Sleep(time.Second)
	}
	return fmt.Errorf("fewer than %d requests were sent", s.requests)
}
