package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/xds/proxyauth"
)

const (
	// SystemNamespace is where the operator lives.
	SystemNamespace = "aftermesh-system"
	// Namespace is where the mesh lives.
	Namespace = "bench"
	account   = "proxy"
	meshName  = "bench"
	nodeName  = "worker"
	appPort   = 8080
)

func serviceHost(i int) string { return fmt.Sprintf("s%03d.%s.svc.cluster.local", i, Namespace) }

// fixed are the objects that exist once, in the order of their creation.
const fixed = `
apiVersion: v1
kind: Namespace
metadata: {name: aftermesh-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: bench, labels: {mesh: bench}}
---
apiVersion: v1
kind: Service
metadata: {name: aftermesh, namespace: aftermesh-system}
spec: {ports: [{name: grpc-xds, port: 15010}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: proxy, namespace: bench}
---
apiVersion: v1
kind: Node
metadata: {name: worker}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: bench, finalizers: [finalizers.appmesh.k8s.aws/mesh-members, finalizers.appmesh.k8s.aws/aws-appmesh-resources]}
spec: {namespaceSelector: {matchLabels: {mesh: bench}}}
`

// perService is one service, as the webhooks and the operator leave it: who it is, where its requests go, and who answers. Its node calls the backends.
const perService = `
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: n%03[1]d, namespace: bench, finalizers: [finalizers.appmesh.k8s.aws/aws-appmesh-resources]}
spec:
  awsName: n%03[1]d_bench
  meshRef: {name: bench, uid: %[3]s}
  podSelector: {matchLabels: {app: n%03[1]d}}
  listeners: [{portMapping: {port: 8080, protocol: http}}]
  serviceDiscovery: {dns: {hostname: n%03[1]d.bench.svc.cluster.local}}
  backends: [%[4]s]
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualRouter
metadata: {name: r%03[1]d, namespace: bench, finalizers: [finalizers.appmesh.k8s.aws/aws-appmesh-resources]}
spec:
  awsName: r%03[1]d_bench
  meshRef: {name: bench, uid: %[3]s}
  listeners: [{portMapping: {port: 8080, protocol: http}}]
  routes:
  - name: all
    httpRoute:
      match: {prefix: /}
      action: {weightedTargets: [{virtualNodeRef: {name: n%03[1]d}, weight: 90}, {virtualNodeRef: {name: n%03[2]d}, weight: 10}]}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: s%03[1]d, namespace: bench, finalizers: [finalizers.appmesh.k8s.aws/aws-appmesh-resources]}
spec:
  awsName: s%03[1]d.bench.svc.cluster.local
  meshRef: {name: bench, uid: %[3]s}
  provider: {virtualRouter: {virtualRouterRef: {name: r%03[1]d}}}
`

// create creates the objects of a YAML stream.
func create(ctx context.Context, c client.Client, text []byte) error {
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 1<<12)
	for {
		var u unstructured.Unstructured
		if err := d.Decode(&u.Object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("decode object: %w", err)
		}
		if u.Object == nil {
			continue
		}
		if err := c.Create(ctx, &u); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create %s %s: %w", u.GetKind(), u.GetName(), err)
		}
	}
}

// definitions creates the CRDs and waits until the API server serves them.
func definitions(ctx context.Context, c client.Client, folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no definitions in %s: %w", folder, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if err := create(ctx, c, text); err != nil {
			return err
		}
	}
	for _, list := range []client.ObjectList{&meshv1beta2.MeshList{}, &meshv1beta2.VirtualNodeList{}, &meshv1beta2.VirtualRouterList{}, &meshv1beta2.VirtualServiceList{}} {
		for {
			err := c.List(ctx, list)
			if err == nil {
				break
			}
			if !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) || ctx.Err() != nil {
				return fmt.Errorf("wait for the definitions: %w", err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

// populate creates everything the operator reads.
func populate(ctx context.Context, c client.Client, s Size) error {
	if err := create(ctx, c, []byte(fixed)); err != nil {
		return err
	}
	var m meshv1beta2.Mesh
	if err := c.Get(ctx, client.ObjectKey{Name: meshName}, &m); err != nil {
		return err
	}
	return parallel(s.Services, func(i int) error {
		var backends []byte
		for _, j := range s.backendsOf(i) {
			backends = fmt.Appendf(backends, "{virtualService: {virtualServiceRef: {name: s%03d}}}, ", j)
		}
		return create(ctx, c, fmt.Appendf(nil, perService, i, (i+1)%s.Services, m.UID, backends))
	})
}

// backendsOf are the services that node i calls; callersOf the nodes that call service i.
func (s Size) backendsOf(i int) (list []int) {
	for k := range s.Backends {
		list = append(list, (i+k+1)%s.Services)
	}
	return list
}

func (s Size) callersOf(i int) (list []int) {
	for k := range s.Backends {
		list = append(list, (i-k-1+s.Services)%s.Services)
	}
	return list
}

// streamsOf are the numbers of the pods of some nodes.
func (s Size) streamsOf(nodes []int) map[int]bool {
	out := map[int]bool{}
	for _, n := range nodes {
		for r := range s.Replicas {
			out[n*s.Replicas+r] = true
		}
	}
	return out
}

// Pod is one running pod and its credential.
type Pod struct {
	Name, UID string
	token     string
	// Node is the number of the virtual node that selects it.
	Node int
}

// pods creates the pods as the injector leaves them, says that they run, and asks for a token bound to each.
func pods(ctx context.Context, c client.Client, k kubernetes.Interface, s Size) ([]Pod, error) {
	out := make([]Pod, s.Services*s.Replicas)
	err := parallel(len(out), func(i int) error {
		n := i / s.Replicas
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: Namespace, Name: fmt.Sprintf("n%03d-%d", n, i%s.Replicas), Labels: map[string]string{"app": fmt.Sprintf("n%03d", n)},
				Annotations: map[string]string{
					meshv1beta2.AnnotationNode:    fmt.Sprintf("mesh/%s/virtualNode/n%03d_%s", meshName, n, Namespace),
					meshv1beta2.AnnotationProfile: `{"ip":"4","injector":"bench","ports":[8080]}`,
				},
			},
			Spec: corev1.PodSpec{
				NodeName: nodeName, ServiceAccountName: account,
				InitContainers: []corev1.Container{{Name: "envoy", Image: "envoy"}},
				Containers:     []corev1.Container{{Name: "app", Image: "app", Ports: []corev1.ContainerPort{{ContainerPort: appPort}}}},
			},
		}
		if err := c.Create(ctx, p); err != nil {
			return fmt.Errorf("create pod: %w", err)
		}
		ip := fmt.Sprintf("10.%d.%d.%d", 100+i/62500, i/250%250, 1+i%250)
		before := p.DeepCopy()
		p.Status = corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}},
		}
		if err := c.Status().Patch(ctx, p, client.MergeFrom(before)); err != nil {
			return fmt.Errorf("pod %s runs: %w", p.Name, err)
		}
		token, err := Token(ctx, k, p)
		if err != nil {
			return err
		}
		out[i] = Pod{Name: p.Name, UID: string(p.UID), token: token, Node: n}
		return nil
	})
	return out, err
}

// Token returns what kubelet puts into a pod for its proxy: a token bound to the pod, for our audience, with a life of an hour.
func Token(ctx context.Context, k kubernetes.Interface, p *corev1.Pod) (string, error) {
	life := int64(time.Hour.Seconds())
	t, err := k.CoreV1().ServiceAccounts(p.Namespace).CreateToken(ctx, p.Spec.ServiceAccountName, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{
			Audiences: []string{proxyauth.Audience}, ExpirationSeconds: &life,
			BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: p.Name, UID: p.UID},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("token for pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	return t.Status.Token, nil
}

// Token is the credential of the pod's proxy.
func (p Pod) Token() string { return p.token }

// SetWeight gives the first target of a service's only route another weight. It returns when the API server has answered.
func (f *Fleet) SetWeight(ctx context.Context, service, weight int) error {
	r := &meshv1beta2.VirtualRouter{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: fmt.Sprintf("r%03d", service)}}
	patch := fmt.Appendf(nil, `[{"op":"replace","path":"/spec/routes/0/httpRoute/action/weightedTargets/0/weight","value":%d}]`, weight)
	return f.Client.Patch(ctx, r, client.RawPatch(types.JSONPatchType, patch))
}

// setReady says of a pod whether it is ready.
func (f *Fleet) setReady(ctx context.Context, name string, ready bool) error {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: name}}
	status := map[bool]string{true: "True", false: "False"}[ready]
	patch := fmt.Appendf(nil, `{"status":{"conditions":[{"type":"Ready","status":"%s"}]}}`, status)
	return f.Client.Status().Patch(ctx, p, client.RawPatch(types.StrategicMergePatchType, patch))
}

// parallel calls do for every number below n, a few at a time, and returns the first error.
func parallel(n int, do func(i int) error) error {
	const workers = 8
	var wg sync.WaitGroup
	next := make(chan int)
	errs := make([]error, n)
	for range workers {
		wg.Go(func() {
			for i := range next {
				errs[i] = do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
