package source

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1alpha1 "github.com/aftermesh/aftermesh/api/v1alpha1"
	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/lifetime"
)

// Cluster follows a Kubernetes cluster through the informers of a controller-runtime cache.
type Cluster struct {
	// Gone, if set before the cache starts, is called with the UID of each pod that has left.
	Gone func(uid string)

	settings input.Settings
	changed  chan struct{}
	status   chan struct{}
	synced   []toolscache.InformerSynced
	ready    atomic.Bool

	// config holds the objects of our kinds, by kind and key.
	config     table[input.Object]
	namespaces table[input.Namespace]
	pods       table[podRow]
	podsByUID  table[podRow]
	services   table[*input.Service]
	slices     table[*input.Slice]
	zones      table[string]
	revisions  table[lifetime.Stored]
	secrets    table[*corev1.Secret]
	grace      grace
	versions   map[string]func() string
}

// NewCluster registers the informers it needs with c. It reports changes after Wait has returned. The given namespace is that of the
// operator.
func NewCluster(ctx context.Context, c cache.Cache, settings input.Settings, namespace string) (*Cluster, error) {
	s := &Cluster{settings: settings, changed: make(chan struct{}, 1), status: make(chan struct{}, 1), versions: map[string]func() string{}}
	s.grace.changed = s.signal
	nodes := &metav1.PartialObjectMetadata{}
	nodes.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Node"))
	watches := []watched{
		converted(&corev1.Namespace{}, &s.namespaces, func(n *corev1.Namespace) input.Namespace {
			return input.Namespace{Name: n.Name, Labels: n.Labels}
		}),
		converted(&corev1.Service{}, &s.services, convertService),
		converted(&discoveryv1.EndpointSlice{}, &s.slices, convertSlice),
		{&corev1.Pod{}, s.setPod, s.removePod},
		{nodes, s.setNode, s.zones.remove},
		converted(&appsv1.ControllerRevision{}, &s.revisions, func(r *appsv1.ControllerRevision) lifetime.Stored {
			return lifetime.ParseRevision(r, namespace)
		}),
		s.settingsWatch(),
		converted(&corev1.Secret{}, &s.secrets, func(x *corev1.Secret) *corev1.Secret { return x }),
	}
	for _, k := range meshv1beta2.Kinds {
		watches = append(watches, s.own(k))
	}
	for _, w := range watches {
		if err := s.watch(ctx, c, w.object, w.set, w.remove); err != nil {
			return nil, fmt.Errorf("watch %T: %w", w.object, err)
		}
	}
	return s, nil
}

// watched is a kind of object and what to do with each; set and remove report whether the input of compile has changed.
type watched struct {
	object client.Object
	set    func(key string, obj any) bool
	remove func(key string) bool
}

// own keeps the objects of one of App Mesh's kinds. A change of nothing but the status is not a change of the input; whoever writes
// statuses learns of it by StatusChanged.
func (s *Cluster) own(k meshv1beta2.Kind) watched {
	return watched{k.New(), func(key string, obj any) bool {
		o, ok := obj.(meshv1beta2.Object)
		if !ok {
			return false
		}
		key = k.Name + key
		old, known := s.config.get(key)
		was, _ := old.(meshv1beta2.Object)
		if known {
			s.edited(was, o)
		}
		s.config.set(key, o)
		if known && sameInput(was, o) {
			signal(s.status)
			return false
		}
		return true
	}, func(key string) bool { return s.config.remove(k.Name + key) }}
}

// settingsWatch keeps MeshSettings.
func (s *Cluster) settingsWatch() watched {
	const kind = "MeshSettings"
	return watched{&meshv1alpha1.MeshSettings{}, func(key string, obj any) bool {
		m, ok := obj.(*meshv1alpha1.MeshSettings)
		return ok && s.config.set(kind+key, m)
	}, func(key string) bool { return s.config.remove(kind + key) }}
}

// edited looks at what a change takes away before it is stored.
func (s *Cluster) edited(old, now meshv1beta2.Object) {
	before, isNode := old.(*meshv1beta2.VirtualNode)
	after, isStill := now.(*meshv1beta2.VirtualNode)
	if isNode && isStill && before.UID == after.UID && !reflect.DeepEqual(before.Spec.PodSelector, after.Spec.PodSelector) {
		s.grace.selectorEdited(before, after, s.pods.all())
	}
}

// sameInput is true when compile cannot tell two versions of an object apart.
func sameInput(x, y meshv1beta2.Object) bool {
	return x.GetUID() == y.GetUID() && x.GetGeneration() == y.GetGeneration() && reflect.DeepEqual(x.GetLabels(), y.GetLabels()) &&
		(x.GetDeletionTimestamp() == nil) == (y.GetDeletionTimestamp() == nil)
}

func converted[T any, P interface {
	*T
	client.Object
}, V any](object P, t *table[V], convert func(P) V) watched {
	return watched{object, func(key string, obj any) bool {
		o, ok := obj.(P)
		return ok && t.set(key, convert(o))
	}, t.remove}
}

func (s *Cluster) setPod(key string, obj any) bool {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return false
	}
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return s.removePod(key)
	}
	row := convertPod(p)
	row.Zone, _ = s.zones.get("/" + row.NodeName)
	switch old, ok := s.pods.get(key); {
	case ok && old.UID != row.UID:
		s.forget(old.UID)
	case ok && !maps.Equal(old.Labels, row.Labels):
		s.grace.labelsEdited(old.Pod, row.Pod, input.Of[*meshv1beta2.VirtualNode](s.configured()))
	}
	old, known := s.pods.get(key)
	if known && reflect.DeepEqual(old.Pod, row.Pod) {
		row.Pod = old.Pod // nothing that compile reads has changed
	}
	s.podsByUID.set(row.UID, row)
	changed := s.pods.set(key, row)
	return changed && !(known && old.Pod == row.Pod)
}

// Silent returns the injected pods whose proxy was started before a time and is not among those that are heard of, which are given by UID.
func (s *Cluster) Silent(before time.Time, heard map[string]bool) []*input.Pod {
	var out []*input.Pod
	for _, p := range s.pods.all() {
		if p.Node != "" && !p.Terminating && !p.proxySince.IsZero() && p.proxySince.Before(before) && !heard[p.UID] {
			out = append(out, p.Pod)
		}
	}
	return out
}

func (s *Cluster) removePod(key string) bool {
	if old, ok := s.pods.get(key); ok {
		s.forget(old.UID)
	}
	return s.pods.remove(key)
}

// forget drops a pod that has left.
func (s *Cluster) forget(uid string) {
	s.podsByUID.remove(uid)
	if s.Gone != nil {
		s.Gone(uid)
	}
}

func (s *Cluster) setNode(key string, obj any) bool {
	n, ok := obj.(*metav1.PartialObjectMetadata)
	return ok && s.zones.set(key, n.Labels[corev1.LabelTopologyZone])
}

// watch adds the handlers of one kind.
func (s *Cluster) watch(ctx context.Context, c cache.Cache, object client.Object, set func(string, any) bool, remove func(string) bool) error {
	inf, err := c.GetInformer(ctx, object, cache.BlockUntilSynced(false))
	if err != nil {
		return err
	}
	store := func(obj any) {
		if o, ok := obj.(client.Object); ok && set(o.GetNamespace()+"/"+o.GetName(), obj) {
			s.signal()
		}
	}
	if v, ok := inf.(interface{ LastSyncResourceVersion() string }); ok {
		s.versions[fmt.Sprintf("%T", object)] = v.LastSyncResourceVersion
	}
	reg, err := inf.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    store,
		UpdateFunc: func(_, obj any) { store(obj) },
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			if o, ok := obj.(client.Object); ok && remove(o.GetNamespace()+"/"+o.GetName()) {
				s.signal()
			}
		},
	})
	if err != nil {
		return err
	}
	s.synced = append(s.synced, reg.HasSynced)
	return nil
}

// Wait blocks until every informer has delivered its first list; it is false when ctx ended before.
func (s *Cluster) Wait(ctx context.Context) bool {
	if !toolscache.WaitForCacheSync(ctx.Done(), s.synced...) {
		return false
	}
	s.ready.Store(true)
	s.signal()
	return true
}

// Again asks for another pass although no object has changed.
func (s *Cluster) Again() { s.signal() }

func (s *Cluster) signal() {
	if s.ready.Load() {
		signal(s.changed)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Changed receives when Objects would return something new; several changes may be told at once.
func (s *Cluster) Changed() <-chan struct{} { return s.changed }

// StatusChanged receives when the status of an object changed but nothing that compile reads.
func (s *Cluster) StatusChanged() <-chan struct{} { return s.status }

// Seen returns the newest resource version that was read of each kind that is watched.
func (s *Cluster) Seen() map[string]string {
	out := make(map[string]string, len(s.versions))
	for kind, newest := range s.versions {
		out[kind] = newest()
	}
	return out
}

// configured are the objects of our kinds alone.
func (s *Cluster) configured() *input.Objects { return &input.Objects{Config: s.config.all()} }

// Objects returns what is known now. Its slices are shared with later calls and must not be modified.
func (s *Cluster) Objects() *input.Objects {
	pods := s.pods.all()
	o := &input.Objects{
		Config: s.config.all(), Namespaces: s.namespaces.all(), Services: s.services.all(), Slices: s.slices.all(),
		Pods: make([]*input.Pod, len(pods)), Settings: s.settings, Accepted: s.accepted(), Grace: s.grace.list(), Certificates: s.certificates(),
	}
	for i, p := range pods {
		o.Pods[i] = p.Pod
	}
	return o
}

// Pod returns the namespace, name and service account of the pod with the given UID, which is what its proxy's token must say.
func (s *Cluster) Pod(uid string) (namespace, name, serviceAccount string, ok bool) {
	row, ok := s.podsByUID.get(uid)
	if !ok {
		return "", "", "", false
	}
	return row.Namespace, row.Name, row.ServiceAccount, true
}
