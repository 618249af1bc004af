package lifetime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	sigsyaml "sigs.k8s.io/yaml"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/controllers"
	"github.com/aftermesh/aftermesh/pkg/inject"
	"github.com/aftermesh/aftermesh/test/apiserver"
	devcluster "github.com/aftermesh/aftermesh/test/cluster"
)

// config is the folder with the manifests of the installation.
const config = "../../config"

// cluster is a real API server with our CRDs and webhooks, and the operator, which may be started and stopped.
type cluster struct {
	client  client.Client
	rest    *rest.Config
	config  string // path of a kubeconfig
	options controllers.Options
	stop    func()
}

// start brings up the API server, the CRDs and the namespace ns of Mesh m; the operator is not running yet.
func start(t *testing.T) *cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a real API server")
	}
	log.SetLogger(logr.Discard())
	server := apiserver.Start(t)
	c := &cluster{rest: server.Config(), config: server.Kubeconfig, options: options(t)}
	var err error
	if c.client, err = client.New(c.rest, client.Options{Scheme: controllers.Scheme()}); err != nil {
		t.Fatal(err)
	}
	c.install(t, filepath.Join(config, "crd", "bases", "*.yaml"), nil)
	c.await(t, "the CRDs are served", func() error {
		for _, kind := range kinds {
			if err := c.client.List(t.Context(), listOf(kind)); err != nil {
				return err
			}
		}
		return nil
	})
	for _, name := range []string{"aftermesh-system", "ns"} {
		object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"mesh": "m"}}}
		if err := c.client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"rbac/role.yaml", "rbac/leader_role.yaml", "admission/revisions.yaml", "admission/operator.yaml"} {
		c.install(t, filepath.Join(config, file), nil)
	}
	return c
}

func options(t *testing.T) controllers.Options {
	t.Helper()
	o := controllers.Options{
		Version: "test", MetricsAddr: "0", HealthPort: uint16(freePort(t)), AdminPort: uint16(freePort(t)), XDSPort: uint16(freePort(t)), PeerPort: uint16(freePort(t)),
		WebhookPort: uint16(freePort(t)), SyncPeriod: 10 * time.Hour, Inject: inject.Defaults(), Namespace: "aftermesh-system",
		PodName: "operator", PodIP: "127.0.0.1", PodIPs: []string{"127.0.0.1"}, Service: "aftermesh", ServiceDomain: "cluster.local",
		ClusterDomain: "cluster.local",
	}
	return o
}

// webhooks installs the webhook configurations, which then call the operator of this process.
func (c *cluster) webhooks(t *testing.T) {
	t.Helper()
	c.install(t, filepath.Join(config, "webhook", "*ing.yaml"), func(object *unstructured.Unstructured) {
		hooks, _, err := unstructured.NestedSlice(object.Object, "webhooks")
		if err != nil || len(hooks) == 0 {
			t.Fatalf("no webhooks in %s: %v", object.GetName(), err)
		}
		for _, hook := range hooks {
			hook := hook.(map[string]any)
			path, _, _ := unstructured.NestedString(hook, "clientConfig", "service", "path")
			hook["clientConfig"] = map[string]any{"url": fmt.Sprintf("https://127.0.0.1:%d%s", c.options.WebhookPort, path)}
		}
		object.Object["webhooks"] = hooks
	})
}

// run starts the operator; it ends with the test, or by c.stop.
func (c *cluster) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	logger := funcr.New(func(prefix, args string) {
		if strings.Contains(args, `"error"=`) {
			t.Log(prefix, args)
		}
	}, funcr.Options{})
	options := c.options
	options.Inject.InitImage = "aftermesh/aftermesh:test"
	cfg := rest.CopyConfig(c.rest)
	cfg.Impersonate.UserName = "system:serviceaccount:aftermesh-system:aftermesh" // with the rights that config/rbac gives
	go func() { done <- controllers.Run(ctx, cfg, options, logger) }()
	stopped := false
	c.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("operator: %v", err)
		}
	}
	t.Cleanup(c.stop)
	c.await(t, "the operator is ready", func() error {
		resp, err := httpGet(t, fmt.Sprintf("http://127.0.0.1:%d/readyz", c.options.HealthPort))
		if err == nil && resp != "ok" {
			err = errors.New(resp)
		}
		return err
	})
}

// answered waits until the API server has taken up the webhook configurations and their authority.
func (c *cluster) answered(t *testing.T) {
	t.Helper()
	c.await(t, "the webhooks answer", func() error {
		// One of each configuration: the API server takes them up one by one.
		for _, m := range []string{
			`{kind: VirtualNode, metadata: {name: probe, namespace: default}}`,
			`{kind: Mesh, metadata: {name: probe}, spec: {namespaceSelector: {matchExpressions: [{key: a, operator: Maybe}]}}}`,
		} {
			err := c.client.Create(t.Context(), parse(t, m), client.DryRunAll)
			if err == nil || !strings.Contains(err.Error(), "denied the request") {
				return fmt.Errorf("no denial of %s: %w", m, err)
			}
		}
		return nil
	})
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := devcluster.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// install creates the objects of files.
func (c *cluster) install(t *testing.T, pattern string, change func(*unstructured.Unstructured)) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096); ; {
			object := &unstructured.Unstructured{}
			err := decoder.Decode(object)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if change != nil {
				change(object)
			}
			if err := c.client.Create(t.Context(), object); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
	}
}

// await polls until the condition holds, at most 20 s.
func (c *cluster) await(t *testing.T, what string, condition func() error) {
	t.Helper()
	start := time.Now()
	var err error
	for time.Since(start) < 20*time.Second {
		if err = condition(); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("gave up waiting until %s: %v", what, err)
}

// parse reads one object of our group.
func parse(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{}
	data, err := sigsyaml.YAMLToJSON([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	if err := object.UnmarshalJSON(append([]byte(`{"apiVersion":"appmesh.k8s.aws/v1beta2",`), bytes.TrimSpace(data)[1:]...)); err != nil {
		t.Fatalf("%s: %v", manifest, err)
	}
	return object
}

// create stores objects.
func (c *cluster) create(t *testing.T, manifests ...string) {
	t.Helper()
	for _, m := range manifests {
		if err := c.client.Create(t.Context(), parse(t, m)); err != nil {
			t.Fatalf("%s: %v", m, err)
		}
	}
}

// get reads an object; "Mesh/m" or "VirtualNode/a", the latter in the namespace ns. It is nil when there is none.
func (c *cluster) get(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	kind, name, _ := strings.Cut(name, "/")
	object := parse(t, `{kind: `+kind+`}`)
	key := client.ObjectKey{Namespace: "ns", Name: name}
	if kind == "Mesh" {
		key.Namespace = ""
	}
	err := c.client.Get(t.Context(), key, object)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return object
}

func (c *cluster) delete(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := c.client.Delete(t.Context(), c.get(t, n)); err != nil {
			t.Fatalf("delete %s: %v", n, err)
		}
	}
}

func (c *cluster) patch(t *testing.T, name, patch string) {
	t.Helper()
	if err := c.client.Patch(t.Context(), c.get(t, name), client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// kinds are those of the group.
var kinds = []string{"Mesh", "VirtualNode", "VirtualService", "VirtualRouter", "Route", "VirtualGateway", "GatewayRoute", "BackendGroup"}

func listOf(kind string) *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion(meshv1beta2.GroupVersion.String())
	list.SetKind(kind + "List")
	return list
}

// all returns every object of the group.
func (c *cluster) all(t *testing.T) []unstructured.Unstructured {
	t.Helper()
	var out []unstructured.Unstructured
	for _, kind := range kinds {
		list := listOf(kind)
		if err := c.client.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		out = append(out, list.Items...)
	}
	return out
}

// gone waits until none of the objects is there any more and returns how long that took.
func (c *cluster) gone(t *testing.T, names ...string) time.Duration {
	t.Helper()
	start := time.Now()
	c.await(t, "objects are gone", func() error {
		for _, n := range names {
			if o := c.get(t, n); o != nil {
				return fmt.Errorf("%s is still there: %v", n, o.GetFinalizers())
			}
		}
		return nil
	})
	return time.Since(start)
}
