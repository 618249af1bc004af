package controllers

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	meshv1alpha1 "github.com/aftermesh/aftermesh/api/v1alpha1"
	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/ca"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/lifetime"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/status"
	"github.com/aftermesh/aftermesh/pkg/xds"
	"github.com/aftermesh/aftermesh/pkg/xds/peer"
)

// faulty is a client whose writes of the object named bad panic; others are noted by name.
func faulty(objects ...client.Object) (*fake.ClientBuilder, *[]string) {
	var written []string
	note := func(o client.Object) {
		if o.GetName() == "bad" || o.GetName() == ca.LeafName(badNode) {
			panic("fault of ours")
		}
		written = append(written, o.GetName())
	}
	return fake.NewClientBuilder().WithScheme(Scheme()).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			note(o)
			return c.Create(ctx, o, opts...)
		},
		Patch: func(_ context.Context, _ client.WithWatch, o client.Object, _ client.Patch, _ ...client.PatchOption) error {
			note(o)
			return nil
		},
		SubResourcePatch: func(_ context.Context, _ client.Client, _ string, o client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
			note(o)
			return nil
		},
	}), &written
}

var badNode = input.AppMesh("VirtualNode", "ns", "bad")

// three are nodes, of which the one in the middle meets the fault.
func three() *input.Objects {
	o := &input.Objects{}
	for i, name := range []string{"a", "bad", "c"} {
		input.Add(o, &meshv1beta2.VirtualNode{ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: name, UID: types.UID(name), Generation: 1, ResourceVersion: fmt.Sprint(i + 1),
		}})
	}
	return o
}

func names(t *testing.T, got []string) {
	t.Helper()
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("written: %v, want all but the one that panics", got)
	}
}

// counting is a log that counts its errors.
func counting(n *int) logr.Logger {
	return funcr.New(func(_, _ string) { *n++ }, funcr.Options{})
}

func TestAPanicInAWriterConcernsOneObjectOnly(t *testing.T) {
	t.Run("finalizers", func(t *testing.T) {
		c, written := faulty()
		logged := 0
		s := &pipeline.Snapshot{Objects: &input.Objects{}, Result: &input.Result{}}
		w := &lifetimeWriter{
			client: c.Build(), log: counting(&logged), recorder: func(string) events.EventRecorder { return &events.FakeRecorder{} },
			revisions: func() []lifetime.Stored { return nil }, objects: three, snapshot: func() *pipeline.Snapshot { return s },
			rows: func() []peer.Row { return nil }, lives: map[types.UID]*life{}, budget: lifetimeWrites, refilled: time.Now(),
		}
		for range 3 {
			w.pass(t.Context())
		}
		names(t, *written)
		if logged == 0 || logged > 2 { // completing it, and its finalizers
			t.Errorf("%d lines in the log; a fault that stays is told now and then", logged)
		}
	})
	t.Run("statuses", func(t *testing.T) {
		c, written := faulty()
		logged := 0
		p := pipeline.New(xds.NewCache(), time.Now)
		s, err := p.Try(three())
		if err != nil {
			t.Fatal(err)
		}
		w := &statusWriter{
			client: c.Build(), recorder: events.NewFakeRecorder(100), log: counting(&logged), objects: func() *input.Objects { return s.Objects },
			snapshot: func() *pipeline.Snapshot { return s }, proxies: func() map[string]status.ProxyState { return nil },
			revised: func(types.UID, int64) bool { return true }, memory: map[mesh.Object]*memory{}, budget: writesPerSecond, refilled: time.Now(),
		}
		for range 3 {
			w.pass(t.Context())
		}
		names(t, *written)
		if logged != 1 {
			t.Errorf("%d lines in the log, want one until something changes", logged)
		}
	})
	t.Run("certificates", func(t *testing.T) {
		c, _ := faulty()
		var requests []input.CertificateRequest
		for _, name := range []string{"a", "bad", "c"} {
			requests = append(requests, input.CertificateRequest{Object: input.AppMesh("VirtualNode", "ns", name), DNS: []string{name + ".ns"}})
		}
		s := issuerOf(t, c, requests)
		if err := s.check(t.Context(), time.Now()); err != nil {
			t.Error(err)
		}
		for _, r := range requests {
			err := s.client.Get(t.Context(), client.ObjectKey{Namespace: "system", Name: ca.LeafName(r.Object)}, &corev1.Secret{})
			if (err == nil) != (r.Object != badNode) {
				t.Errorf("%s: %v", r.Object, err)
			}
		}
	})
	t.Run("settings", func(t *testing.T) {
		c, written := faulty()
		s := issuerOf(t, c, nil)
		s.settings = func() (out []*meshv1alpha1.MeshSettings) {
			for _, name := range []string{"a", "bad", "c"} {
				out = append(out, &meshv1alpha1.MeshSettings{ObjectMeta: metav1.ObjectMeta{Name: name}})
			}
			return out
		}
		if err := s.judgeSettings(t.Context(), time.Now()); err != nil {
			t.Error(err)
		}
		names(t, *written)
	})
}
