package input

import (
	"iter"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// Objects is everything that Compile looks at. Slices may be in any order; the result does not depend on it. Nothing in it is
// modified. Sources build it from informer caches or from files.
type Objects struct {
	// Config are the objects that users configure meshes with: those of App Mesh's kinds, and MeshSettings.
	Config []Object

	// Accepted are the last accepted forms of objects whose current generation is another: kind, namespace, name, UID,
	// generation and spec. The accepted one serves on while the current one has a fault that it has not.
	Accepted []meshv1beta2.Object

	Namespaces []Namespace
	Pods       []*Pod
	Services   []*Service
	Slices     []*Slice
	// Grace lists, by VirtualNode, the UIDs of pods that it lost a moment ago by an edit of its selector or of their labels.
	// They remain its endpoints while it has no other. Whoever fills it in bounds the time.
	Grace map[types.NamespacedName][]string

	// Certificates is the TLS material that the control plane delivers itself.
	Certificates Certificates

	// Unresolvable are the zones of names of ours of which the cluster's DNS knows nothing, sorted. Whoever fills it in has asked.
	Unresolvable []string

	Settings Settings
}

// Certificates is the material that replaces what App Mesh had from AWS.
type Certificates struct {
	// Root is the PEM of the authority of the mesh: its root, and the one before while that is still in use. Empty where there
	// is no authority, as with files.
	Root []byte
	// Leaves are what the authority issued, by the node or gateway whose proxies they are for.
	Leaves map[mesh.Object]KeyPair
	// Mapped is what MeshSettings say, by mesh and by ARN or SDS name: the entries in their order.
	Mapped map[Mapping][]MappedSecret
}

// MappedSecret is one entry of MeshSettings: a Secret of the operator's namespace, what it holds, and the namespaces whose nodes and
// gateways may use it; "*" stands for all.
type MappedSecret struct {
	Secret     string
	Namespaces []string
	KeyPair
}

// Mapping is the key of an entry of MeshSettings: the name of the Mesh object, and the ARN or SDS name.
type Mapping struct{ Mesh, Name string }

// KeyPair is the content of a Secret: a certificate with its key, the certificates to trust, or both. All are PEM.
type KeyPair struct{ Chain, Key, Trust []byte }

// CertificateRequest asks the mesh's authority for a certificate.
type CertificateRequest struct {
	// Object is the node or gateway.
	Object mesh.Object
	// DNS are the names that the certificate is valid for, sorted.
	DNS []string
}

// Object is an object of any API.
type Object interface {
	runtime.Object
	metav1.Object
}

// All ranges over the configuration objects of a type, which may be an interface.
func All[T any](o *Objects) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, object := range o.Config {
			if t, ok := object.(T); ok && !yield(t) {
				return
			}
		}
	}
}

// Of returns what All ranges over.
func Of[T any](o *Objects) []T { return slices.Collect(All[T](o)) }

// Add appends configuration objects. Their list is not shared with copies of o that were made before.
func Add[T Object](o *Objects, objects ...T) {
	o.Config = slices.Clip(o.Config)
	for _, object := range objects {
		o.Config = append(o.Config, object)
	}
}

// Replace returns the objects with each object of App Mesh's kinds replaced by what replacement returns for it; nil leaves it out.
// Objects of other kinds stay.
func (o *Objects) Replace(replacement func(meshv1beta2.Object) meshv1beta2.Object) *Objects {
	out := *o
	out.Config = make([]Object, 0, len(o.Config))
	for _, object := range o.Config {
		if ours, ok := object.(meshv1beta2.Object); ok {
			if ours = replacement(ours); ours == nil {
				continue
			}
			object = ours
		}
		out.Config = append(out.Config, object)
	}
	return &out
}

// AppMesh names an object of a kind of App Mesh's API.
func AppMesh(kind, namespace, name string) mesh.Object {
	return mesh.Object{Group: meshv1beta2.GroupName, Kind: kind, Namespace: namespace, Name: name}
}

// ID names an object.
func ID(o meshv1beta2.Object) mesh.Object {
	return AppMesh(o.Common().Kind, o.GetNamespace(), o.GetName())
}

// Settings are the operator's own switches that shape what is compiled.
type Settings struct {
	// ClusterDomain is the DNS suffix of Services; empty means "cluster.local".
	ClusterDomain string
	// EgressExempt lists the TLS server names that pass DROP_ALL on port 443.
	// App Mesh's default is "*.amazonaws.com".
	EgressExempt []string
	// TrustDomain of the mesh's authority; empty means "cluster.local".
	TrustDomain string
	// BackendGroups lets backend groups have an effect. App Mesh's default is off.
	BackendGroups bool
	// AdminPort of Envoy; 0 is the default.
	AdminPort int64
	// IPv6Only is set where pods have IPv6 addresses only, and so names get virtual addresses of that family.
	IPv6Only bool
	// Offline is set where no admission webhook and no pods exist (files, standalone mode): every workload gets one group
	// whose proxies are named by node id, and an object whose namespace no Mesh selects joins the only Mesh there is.
	Offline bool
	// Loopback lets nodes be found at addresses of the caller's own machine: in standalone mode all may run on one machine, whose
	// owner is the only tenant.
	Loopback bool
}

// Namespace is the part of a Namespace that decides membership.
type Namespace struct {
	Name   string
	Labels map[string]string
}

// Pod is the part of a Pod that routing depends on. A source makes it once per change of the pod and shares it.
type Pod struct {
	UID, Namespace, Name string
	Labels               map[string]string
	// IPs are all addresses of the pod, the primary one first.
	IPs []string
	// Ready is the pod's Ready condition; Terminating says that it has a deletion timestamp; Running that its phase is Running.
	Ready, Terminating, Running bool
	// Zone of its node, if known.
	Zone string
	// NamedPorts are the TCP container ports that have a name.
	NamedPorts map[string]uint32
	// Node is what the pod was injected as, or empty for a pod without a proxy of ours.
	Node string
	// Profile is what the injector recorded about the pod.
	Profile meshv1beta2.Profile
	// Injection is the pod's own word about injection, the annotation LabelInject; empty without one.
	Injection string
	// Asked are the redirected ports that kubelet or Prometheus asks in clear text, sorted.
	Asked []uint32
	// Exempt pods get no proxy whatever selects them; HasEnvoy says that the pod has a container of that name.
	Exempt, HasEnvoy bool
}

// Service is the part of a Kubernetes Service that endpoints depend on.
type Service struct {
	Namespace, Name string
	// ClusterIPs are empty for headless Services.
	ClusterIPs []string
	// ExternalName is the target of a Service of that type.
	ExternalName string
	Ports        []ServicePort
}

// ServicePort is one TCP port of a Service. Target is a number, or else TargetName names a container port.
type ServicePort struct {
	Name       string
	Port       uint32
	Target     uint32
	TargetName string
}

// Slice is the part of an EndpointSlice that endpoints depend on.
type Slice struct {
	Namespace, Service string
	// Ports by the name they have in the Service.
	Ports     map[string]uint32
	Endpoints []SliceEndpoint
}

// SliceEndpoint is one address of a Slice; only ready ones that are not terminating take part.
type SliceEndpoint struct {
	Address string
	Ready   bool
	Zone    string
}
