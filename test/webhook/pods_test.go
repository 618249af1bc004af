package webhook

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/aftermesh/aftermesh/pkg/inject"
	injectwebhook "github.com/aftermesh/aftermesh/pkg/inject/webhook"
)

// podCase is a pod that is sent through the API server, and what comes back.
type podCase struct {
	// key is the annotation or label that the case is about; about says what its value is like.
	key, about string
	// namespace is "demo" if empty, an enabled one.
	namespace string
	// gateway makes it a pod of the VirtualGateway.
	gateway bool
	// annotations by name; one without a slash is of appmesh.k8s.aws. labels likewise, as they are written.
	annotations, labels map[string]string
	config              func(*inject.Config)
	pod                 func(*corev1.Pod)
	// want are facts (see facts); an empty one must be absent. denied and warned are parts of texts.
	want           map[string]string
	denied, warned string
}

// short abbreviates the tables.
type short = map[string]string

// full writes out the names of App Mesh's annotations.
func full(annotations short) map[string]string {
	out := map[string]string{}
	for key, value := range annotations {
		if !strings.Contains(key, "/") {
			key = "appmesh.k8s.aws/" + key
		}
		out[key] = value
	}
	return out
}

// injecting sends pods to the webhook too, and creates a mesh to inject them for.
func (e *environment) injecting(t *testing.T) {
	t.Helper()
	e.configure(nil)
	hooks := &unstructured.Unstructured{}
	hooks.SetAPIVersion("admissionregistration.k8s.io/v1")
	hooks.SetKind("MutatingWebhookConfiguration")
	if err := e.client.Get(t.Context(), client.ObjectKey{Name: "aftermesh-mutating-webhook-configuration"}, hooks); err != nil {
		t.Fatal(err)
	}
	list, _, _ := unstructured.NestedSlice(hooks.Object, "webhooks")
	for _, hook := range list {
		if hook := hook.(map[string]any); hook["name"] == "mpod.appmesh.k8s.aws" {
			hook["clientConfig"] = map[string]any{"url": e.url + injectwebhook.Path, "caBundle": e.ca}
		}
	}
	hooks.Object["webhooks"] = list
	if err := e.client.Update(t.Context(), hooks); err != nil {
		t.Fatal(err)
	}
	if err := e.client.Create(t.Context(), parse(t, `{kind: Mesh, metadata: {name: m}, spec: {namespaceSelector: {matchLabels: {mesh: m}}}}`)); err != nil {
		t.Fatal(err)
	}
	for name, label := range map[string]string{"demo": "enabled", "open": "", "odd": "true", "closed": "disabled", "bare": "-", "aftermesh-system": "enabled"} {
		e.fillNamespace(t, name, label)
	}
	e.await(t, "pods are injected", func() error {
		for _, namespace := range []string{"demo", "closed"} {
			pod := podCase{namespace: namespace, annotations: short{"sidecarInjectorWebhook": "enabled"}}.build()
			if err := e.client.Create(t.Context(), pod, client.DryRunAll); err != nil {
				return err
			}
			if len(pod.Spec.InitContainers) == 0 {
				return errors.New("the pod came back as it was")
			}
		}
		return nil
	})
}

// fillNamespace makes a namespace with a node, a gateway and the account that pods need. The label "-" is none at all.
func (e *environment) fillNamespace(t *testing.T, name, label string) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"mesh": "m"}}}
	if label != "-" {
		namespace.Labels["appmesh.k8s.aws/sidecarInjectorWebhook"] = label
	}
	for _, object := range []client.Object{
		namespace,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: name}},
		parse(t, `{kind: VirtualNode, metadata: {name: front, namespace: `+name+`}, spec: {podSelector: {matchLabels: {app: front}}, listeners: [
			{portMapping: {port: 8080, protocol: http}},
			{portMapping: {port: 9090, protocol: http}, tls: {mode: STRICT, certificate: {file: {certificateChain: /c, privateKey: /k}}}}],
			serviceDiscovery: {dns: {hostname: front.`+name+`.svc.cluster.local}}}}`),
		parse(t, `{kind: VirtualGateway, metadata: {name: ingress, namespace: `+name+`}, spec: {podSelector: {matchLabels: {app: ingress}},
			listeners: [{portMapping: {port: 8088, protocol: http}}]}}`),
	} {
		if err := e.client.Create(t.Context(), object); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// configure gives the webhook the settings of an installation without flags, changed.
func (e *environment) configure(change func(*inject.Config)) {
	c := inject.Defaults()
	c.Version, c.ControlPlane.CA = "v0", "root"
	if change != nil {
		change(&c)
	}
	e.inject.Store(&c)
}

// build makes the pod of a case.
func (c podCase) build() *corev1.Pod {
	pod := &corev1.Pod{}
	pod.GenerateName, pod.Namespace = "p-", c.namespace
	if pod.Namespace == "" {
		pod.Namespace = "demo"
	}
	pod.Annotations, pod.Labels = full(c.annotations), map[string]string{"app": "front"}
	pod.Spec.ServiceAccountName = "default" // the bare API server sets none, and tokens need one
	pod.Spec.Containers = []corev1.Container{{Name: "app", Image: "app"}}
	pod.Spec.InitContainers = []corev1.Container{{Name: "first", Image: "app"}}
	if c.gateway {
		pod.Labels["app"] = "ingress"
		pod.Spec.Containers, pod.Spec.InitContainers = []corev1.Container{{Name: "envoy", Image: "placeholder"}}, nil
	}
	maps.Copy(pod.Labels, c.labels)
	if c.pod != nil {
		c.pod(pod)
	}
	return pod
}

// facts are what may be compared of a pod, by names such as "init", "status.node", "envoy.image", "envoy.env.ENVOY_LOG_LEVEL" or "volume.tls".
func facts(p *corev1.Pod) map[string]string {
	f := map[string]string{}
	for key, value := range p.Annotations {
		f["annotation."+key] = value
	}
	if status, ok := inject.ReadStatus(p); ok {
		f["status.version"], f["status.node"] = status.Version, status.Node
	}
	for kind, list := range map[string][]corev1.Container{"init": p.Spec.InitContainers, "containers": p.Spec.Containers} {
		var names []string
		for _, c := range list {
			names = append(names, c.Name)
			containerFacts(f, c)
		}
		f[kind] = strings.Join(names, ",")
	}
	for _, v := range p.Spec.Volumes {
		switch {
		case v.Secret != nil:
			f["volume."+v.Name] = "secret " + v.Secret.SecretName
		case v.HostPath != nil:
			f["volume."+v.Name] = "host " + v.HostPath.Path
		default:
			f["volume."+v.Name] = "other"
		}
	}
	return f
}

func containerFacts(f map[string]string, c corev1.Container) {
	f[c.Name+".image"] = c.Image
	f[c.Name+".command"] = strings.Join(c.Command, " ")
	for i, arg := range c.Args {
		if strings.HasPrefix(arg, "--") && i+1 < len(c.Args) {
			f[c.Name+"."+arg] = c.Args[i+1]
		}
	}
	if c.RestartPolicy != nil {
		f[c.Name+".restart"] = string(*c.RestartPolicy)
	}
	for _, e := range c.Env {
		f[c.Name+".env."+e.Name] = e.Value
	}
	for kind, list := range map[string]corev1.ResourceList{"request": c.Resources.Requests, "limit": c.Resources.Limits} {
		for name, quantity := range list {
			f[fmt.Sprintf("%s.%s.%s", c.Name, kind, name)] = quantity.String()
		}
	}
	for _, m := range c.VolumeMounts {
		f[c.Name+".mount."+m.MountPath] = m.Name + map[bool]string{true: " read-only", false: ""}[m.ReadOnly]
	}
	for kind, probe := range map[string]*corev1.Probe{"liveness": c.LivenessProbe, "readiness": c.ReadinessProbe, "startup": c.StartupProbe} {
		if probe != nil && probe.HTTPGet != nil {
			f[c.Name+"."+kind] = probe.HTTPGet.Port.String() + probe.HTTPGet.Path
		}
	}
	if c.Lifecycle != nil && c.Lifecycle.PostStart != nil && c.Lifecycle.PostStart.Exec != nil {
		f[c.Name+".postStart"] = strings.Join(c.Lifecycle.PostStart.Exec.Command, " ")
	}
}

// TestEveryAnnotationAndLabel has cases for each annotation and label that users may set or may find on their pods, through a
// real API server and the real webhook.
func TestEveryAnnotationAndLabel(t *testing.T) {
	env := start(t)
	env.injecting(t)
	failed := map[string]bool{}
	covered := map[string]int{}
	for _, c := range podCases {
		covered[c.key]++
		ok := t.Run(strings.TrimPrefix(c.key, "appmesh.k8s.aws/")+" "+c.about, func(t *testing.T) { env.sendPod(t, c) })
		failed[c.key] = failed[c.key] || !ok
	}
	good := 0
	for _, key := range podKeys {
		switch {
		case covered[key] == 0:
			t.Errorf("%s has no case", key)
		case !failed[key]:
			good++
		}
	}
	for key := range covered {
		if !slices.Contains(podKeys, key) {
			t.Errorf("%s is not in the list of keys", key)
		}
	}
	t.Logf("%d of %d annotations and labels, %d cases", good, len(podKeys), len(podCases))
}

func (e *environment) sendPod(t *testing.T, c podCase) {
	e.configure(c.config)
	e.warnings.all = nil
	pod := c.build()
	err := e.client.Create(t.Context(), pod, client.DryRunAll)
	if c.denied != "" {
		if err == nil || !strings.Contains(err.Error(), `admission webhook "mpod.appmesh.k8s.aws" denied the request: `) || !strings.Contains(err.Error(), c.denied) {
			t.Errorf("got %v, want denied: %s", err, c.denied)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	got := facts(pod)
	for name, want := range c.want {
		prefix, annotation, _ := strings.Cut(name, "annotation.")
		if prefix == "" && !strings.Contains(annotation, "/") {
			name = "annotation.appmesh.k8s.aws/" + annotation
		}
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if all := strings.Join(e.warnings.all, "\n"); !strings.Contains(all, c.warned) {
		t.Errorf("warnings %q, want %q", all, c.warned)
	}
}

// written finds the names of annotations and labels in source.
var written = regexp.MustCompile(`"((?:appmesh\.k8s\.aws|aftermesh\.dev|prometheus\.io|eks\.amazonaws\.com)/[A-Za-z-]+)"`)

// TestEveryKeyIsDocumented looks for each key on the page about injection, where it may stand without its prefix.
func TestEveryKeyIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/injection.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range podKeys {
		_, name, _ := strings.Cut(key, "/")
		if text := string(page); !strings.Contains(text, "`"+name+"`") && !strings.Contains(text, "`"+key+"`") && !strings.Contains(text, "`"+key+":") {
			t.Errorf("docs/injection.md does not name %s", key)
		}
	}
}

// TestTheListOfKeysIsWhole compares it with what the injector's source names.
func TestTheListOfKeysIsWhole(t *testing.T) {
	files, err := filepath.Glob("../../pkg/inject/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source: %v", err)
	}
	for _, file := range append(files, "../../api/v1beta2/annotations.go") {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range written.FindAllStringSubmatch(string(source), -1) {
			if !slices.Contains(podKeys, match[1]) {
				t.Errorf("%s names %s, which has no case", file, match[1])
			}
		}
	}
}
