package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	sigsyaml "sigs.k8s.io/yaml"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/admission"
	"github.com/aftermesh/aftermesh/pkg/inject"
	injectwebhook "github.com/aftermesh/aftermesh/pkg/inject/webhook"
	"github.com/aftermesh/aftermesh/test/apiserver"
	"github.com/aftermesh/aftermesh/test/cluster"
	"github.com/aftermesh/aftermesh/test/injection"
)

// config is the folder with the manifests of the installation.
const config = "../../config"

// environment is a real API server with our CRDs and our webhooks, which run in the test's process and read through a
// real informer cache.
type environment struct {
	client    client.Client
	informers client.Reader
	families  string
	warnings  injection.Warnings
	// url and ca are those of the webhooks, inject the settings of that of pods.
	url    string
	ca     []byte
	inject atomic.Pointer[inject.Config]
}

// start brings the environment up; it ends with the test.
func start(t *testing.T) *environment {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a real API server")
	}
	log.SetLogger(logr.Discard())
	server := apiserver.Start(t)
	env := &environment{families: "4"}
	restConfig := rest.CopyConfig(server.Config())
	restConfig.WarningHandler = &env.warnings
	var err error
	if env.client, err = client.New(restConfig, client.Options{Scheme: scheme(t)}); err != nil {
		t.Fatal(err)
	}
	env.install(t, filepath.Join(config, "crd", "bases", "*.yaml"), nil)
	env.await(t, "the CRDs are served", func() error {
		for _, list := range []client.ObjectList{&meshv1beta2.MeshList{}, &meshv1beta2.VirtualGatewayList{}, &meshv1beta2.RouteList{},
			&meshv1beta2.VirtualNodeList{}, &meshv1beta2.VirtualServiceList{}, &meshv1beta2.VirtualRouterList{},
			&meshv1beta2.GatewayRouteList{}, &meshv1beta2.BackendGroupList{}} {
			if err := env.client.List(t.Context(), list); err != nil {
				return err
			}
		}
		return nil
	})
	env.url, env.ca = env.serve(t, server.Config())
	env.install(t, filepath.Join(config, "webhook", "*ing.yaml"), func(object *unstructured.Unstructured) {
		if err := env.client.Create(t.Context(), object.DeepCopy(), client.DryRunAll); err != nil {
			t.Fatalf("%s as it stands: %v", object.GetName(), err)
		}
		pointAt(t, object, env.url, env.ca)
	})
	// The API server takes up webhook configurations asynchronously; they work once a denial arrives.
	env.await(t, "the webhooks answer", func() error {
		for _, c := range []struct{ manifest, want string }{
			{`{kind: VirtualNode, metadata: {name: probe, namespace: default}}`, "mvirtualnode.appmesh.k8s.aws"},
			{`{kind: Mesh, metadata: {name: probe}, spec: {namespaceSelector: {matchExpressions: [{key: a, operator: Maybe}]}}}`, "vmesh.appmesh.k8s.aws"},
		} {
			if err := env.client.Create(t.Context(), parse(t, c.manifest), client.DryRunAll); err == nil || !strings.Contains(err.Error(), c.want) {
				return fmt.Errorf("%s does not deny: %w", c.want, cmp.Or(err, errors.New("no error")))
			}
		}
		return nil
	})
	return env
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, apiextensionsv1.AddToScheme, admissionregistrationv1.AddToScheme, meshv1beta2.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// serve starts cache and webhooks and returns their address and authority.
func (e *environment) serve(t *testing.T, restConfig *rest.Config) (url string, ca []byte) {
	t.Helper()
	informers, err := cache.New(restConfig, cache.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range []client.Object{&corev1.Namespace{}, &meshv1beta2.Mesh{}, &meshv1beta2.VirtualGateway{}, &meshv1beta2.VirtualNode{}} {
		if _, err := informers.GetInformer(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	e.informers = informers
	folder := t.TempDir()
	ca = writeCertificate(t, folder)
	port := freePort(t)
	server := webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: port, CertDir: folder})
	admission.Register(server, admission.Deps{Cache: informers, Live: e.client, Families: func() string { return e.families }})
	server.Register(injectwebhook.Path, &webhook.Admission{Handler: &injectwebhook.Handler{
		Cache: informers, Live: e.client, Config: func() inject.Config { return *e.inject.Load() },
	}})
	for name, start := range map[string]func(context.Context) error{"cache": informers.Start, "webhooks": server.Start} {
		go func() {
			if err := start(t.Context()); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		}()
	}
	if !informers.WaitForCacheSync(t.Context()) {
		t.Fatal("the cache does not fill")
	}
	return fmt.Sprintf("https://127.0.0.1:%d", port), ca
}

// writeCertificate makes a certificate for 127.0.0.1 that is its own authority.
func writeCertificate(t *testing.T, folder string) (ca []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, data := range map[string][]byte{"tls.crt": ca, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(filepath.Join(folder, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return ca
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := cluster.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// nowhere is an address at which nothing listens.
const nowhere = "https://127.0.0.1:1"

// pointAt sends the webhooks of a configuration to url instead of the Service, and that of pods nowhere.
func pointAt(t *testing.T, object *unstructured.Unstructured, url string, ca []byte) {
	t.Helper()
	hooks, _, err := unstructured.NestedSlice(object.Object, "webhooks")
	if err != nil || len(hooks) == 0 {
		t.Fatalf("no webhooks in %s: %v", object.GetName(), err)
	}
	for _, hook := range hooks {
		hook := hook.(map[string]any)
		path, _, err := unstructured.NestedString(hook, "clientConfig", "service", "path")
		if err != nil || path == "" {
			t.Fatalf("webhook %v has no path: %v", hook["name"], err)
		}
		hook["clientConfig"] = map[string]any{"url": url + path, "caBundle": ca}
		if hook["name"] == "mpod.appmesh.k8s.aws" {
			hook["clientConfig"] = map[string]any{"url": nowhere}
		}
	}
	object.Object["webhooks"] = hooks
}

// install creates the objects of files.
func (e *environment) install(t *testing.T, pattern string, change func(*unstructured.Unstructured)) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	for _, file := range files {
		for _, object := range read(t, file) {
			if change != nil {
				change(object)
			}
			if err := e.client.Create(t.Context(), object); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
	}
}

// await polls until the condition holds, at most 20 s.
func (e *environment) await(t *testing.T, what string, condition func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = condition(); err == nil {
			return
		}
	}
	t.Fatalf("gave up waiting until %s: %v", what, err)
}

// read returns the objects of a YAML file.
func read(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096); ; {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
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
