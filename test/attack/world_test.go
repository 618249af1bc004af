package attack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/controllers"
	"github.com/aftermesh/aftermesh/test/cluster"
	"github.com/aftermesh/aftermesh/test/fleet"
	"github.com/aftermesh/aftermesh/test/install"
)

const (
	// memory is the limit of the container in config/manager.
	memory = 1 << 30
	// bank and evil are the namespaces of the victim and of the attacker; their mesh is that of the fleet.
	bank, evil = "bank", "evil"
	meshName   = fleet.Namespace
	// account is the service account of the tenants' pods.
	account  = "default"
	patience = 30 * time.Second
)

// size of the honest mesh: every service has 3 callers with 2 proxies each.
var size = fleet.Size{Services: 8, Replicas: 2, Backends: 3}

// World is a cluster with an operator that is attacked.
type World struct {
	Fleet    *fleet.Fleet
	Operator *fleet.Operator
	Cage     *fleet.Cage
	// Admin may do everything; Evil and Bank are tenants, whose rights end with their namespaces.
	Admin, Evil, Bank client.Client
	Kube              kubernetes.Interface

	// pods and changes count those that were made.
	pods, changes int
}

// start brings a world up, with the honest proxies connected; it ends with the test.
func start(t *testing.T) *World {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a real API server and the operator")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	w := &World{}
	var err error
	if w.Fleet, err = fleet.New(ctx, size, operatorBinary, t.Logf); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			w.tell(t)
		}
		if err := errors.Join(w.Fleet.Close(), w.Cage.Close()); err != nil {
			t.Error(err)
		}
	})
	for _, step := range []func(context.Context) error{w.install, w.tenants, w.operate} {
		if err := step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Fleet.Connect(t.Context(), func(int) *fleet.Operator { return w.Operator }); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Fleet.InStep(ctx); err != nil {
		t.Fatal(err)
	}
	return w
}

// tell logs how the operator ended and its last words.
func (w *World) tell(t *testing.T) {
	t.Helper()
	if w.Cage != nil {
		killed, err := w.Cage.Killed()
		t.Logf("the kernel killed %d processes for their memory (%v)", killed, err)
	}
	if w.Operator != nil {
		text, err := w.Operator.Log()
		const enough = 1500
		t.Logf("the operator's log ends with (%v):\n%s", err, text[max(0, len(text)-enough):])
	}
}

// install applies config/default as a user does and points the webhooks at the operator's process.
func (w *World) install(ctx context.Context) error {
	layout, err := cluster.Find()
	if err != nil {
		return err
	}
	w.Admin = w.Fleet.Client
	if w.Kube, err = kubernetes.NewForConfig(w.Fleet.Server().Config()); err != nil {
		return err
	}
	if w.Operator, err = w.Fleet.NewOperator("127.0.0.1", true); err != nil {
		return err
	}
	kubectl := install.Kubectl{Program: layout.Bin("kubectl"), Kubeconfig: w.Fleet.Server().Kubeconfig}
	if _, err := kubectl.Run(ctx, "apply", "-k", filepath.Join(install.Root(layout), "config", "default")); err != nil {
		return err
	}
	at := func(c *admissionregistrationv1.WebhookClientConfig) {
		url := "https://" + w.Operator.WebhookAddress() + *c.Service.Path
		*c = admissionregistrationv1.WebhookClientConfig{URL: &url}
	}
	var m admissionregistrationv1.MutatingWebhookConfiguration
	if err := w.Admin.Get(ctx, client.ObjectKey{Name: "aftermesh-mutating-webhook-configuration"}, &m); err != nil {
		return err
	}
	for i := range m.Webhooks {
		at(&m.Webhooks[i].ClientConfig)
	}
	var v admissionregistrationv1.ValidatingWebhookConfiguration
	if err := w.Admin.Get(ctx, client.ObjectKey{Name: "aftermesh-validating-webhook-configuration"}, &v); err != nil {
		return err
	}
	for i := range v.Webhooks {
		at(&v.Webhooks[i].ClientConfig)
	}
	return errors.Join(w.Admin.Update(ctx, &m), w.Admin.Update(ctx, &v))
}

// tenants makes the two namespaces and the rights of their users.
func (w *World) tenants(ctx context.Context) error {
	for name, c := range map[string]*client.Client{bank: &w.Bank, evil: &w.Evil} {
		meta := metav1.ObjectMeta{Namespace: name, Name: "tenant"}
		for _, o := range []client.Object{
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"mesh": meshName, meshv1beta2.LabelInject: "enabled"}}},
			&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: account}},
			&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
				{APIGroups: []string{""}, Resources: []string{"pods", "services"}, Verbs: []string{"*"}},
				{APIGroups: []string{meshv1beta2.GroupVersion.Group}, Resources: []string{"*"}, Verbs: []string{"*"}},
			}},
			&rbacv1.RoleBinding{
				ObjectMeta: meta, Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}},
				RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
			},
		} {
			if err := w.Admin.Create(ctx, o); err != nil {
				return fmt.Errorf("tenant %s: %w", name, err)
			}
		}
		cfg := rest.CopyConfig(w.Fleet.Server().Config())
		cfg.Impersonate.UserName = name
		var err error
		if *c, err = client.New(cfg, client.Options{Scheme: controllers.Scheme()}); err != nil {
			return err
		}
	}
	return nil
}

// operate starts the operator in its cage and waits until its webhooks answer.
func (w *World) operate(ctx context.Context) (err error) {
	if w.Cage, err = fleet.NewCage(memory); err != nil {
		return err
	}
	own, err := w.confined("system:serviceaccount:aftermesh-system:aftermesh")
	if err != nil {
		return err
	}
	w.Operator.Confine(fleet.Confinement{Kubeconfig: own, Cage: w.Cage, Env: environment})
	if err := w.Operator.Start(ctx); err != nil {
		return err
	}
	return await(ctx, "the webhooks answer", func() error {
		// One of each configuration: the API server takes them up one by one.
		for _, text := range []string{
			`{"kind": "VirtualNode", "metadata": {"namespace": "default", "name": "probe"}}`,
			`{"kind": "Mesh", "metadata": {"name": "probe"}, "spec": {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Maybe"}]}}}`,
		} {
			o := &unstructured.Unstructured{}
			if err := o.UnmarshalJSON([]byte(`{"apiVersion": "` + meshv1beta2.GroupVersion.String() + `", ` + text[1:])); err != nil {
				return err
			}
			if err := w.Admin.Create(ctx, o, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "denied the request") {
				return fmt.Errorf("no denial of %s: %w", text, err)
			}
		}
		return nil
	})
}

// confined writes a kubeconfig of another user and returns its path.
func (w *World) confined(user string) (string, error) {
	path := w.Fleet.Server().Kubeconfig
	c, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return "", err
	}
	for _, a := range c.AuthInfos {
		a.Impersonate = user
	}
	path += ".operator"
	return path, clientcmd.WriteToFile(*c, path)
}

// await polls until the condition holds.
func await(ctx context.Context, what string, condition func() error) error {
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if err = condition(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("waited %v until %s: %w", patience, what, err)
}

// operatorBinary is the operator's, built once for all tests.
var operatorBinary string

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	if name := os.Getenv(hostileVariable); name != "" {
		os.Exit(hostile(name))
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "attack")
		if err == nil {
			defer os.RemoveAll(dir)
			operatorBinary, err = fleet.Build(context.Background(), dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// environment is what config/manager gives the operator besides what it knows of its pod.
var environment = []string{fmt.Sprintf("MEMORY_LIMIT=%d", memory)}
