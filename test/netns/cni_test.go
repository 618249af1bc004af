package netns

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/cni"
	"github.com/aftermesh/aftermesh/pkg/inject"
)

// runtime calls the plugin as a container runtime does. The API server is a stand-in that knows one pod; the real one is asked in
// the cluster.
type containerRuntime struct {
	*lab
	program, kubeconfig, records string
	pod                          *corev1.Pod
}

func newRuntime(t *testing.T) *containerRuntime {
	t.Helper()
	r := &containerRuntime{lab: newLab(t)}
	dir := t.TempDir()
	r.program, r.kubeconfig, r.records = filepath.Join(dir, cni.Type), filepath.Join(dir, "kubeconfig"), filepath.Join(dir, "records")
	if out, err := exec.Command("go", "build", "-o", r.program, "../..").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if r.pod == nil || req.URL.Path != "/api/v1/namespaces/demo/pods/front" {
			http.Error(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"message":"no such pod"}`, http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(r.pod); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	config := fmt.Sprintf("{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: %q}}], contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u}]}", server.URL)
	if err := os.WriteFile(r.kubeconfig, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// inCNIForm is a pod as the webhook makes it in CNI form.
func inCNIForm(t *testing.T) *corev1.Pod {
	t.Helper()
	node := &meshv1beta2.VirtualNode{ObjectMeta: metav1.ObjectMeta{Name: "front", Namespace: "demo"}}
	node.Spec.MeshRef = &meshv1beta2.MeshReference{Name: "demo"}
	node.Spec.PodSelector = &metav1.LabelSelector{}
	node.Spec.Listeners = []meshv1beta2.Listener{{PortMapping: meshv1beta2.PortMapping{Port: 8080, Protocol: "http"}}}
	pod := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "front", UID: "u1", Annotations: map[string]string{meshv1beta2.AnnotationEgressIgnoredPorts: "5432"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
	c := inject.Defaults()
	c.CNI, c.Version, c.ControlPlane.CA = true, "test", "root"
	a, err := inject.Admit(pod, inject.Objects{
		Namespace: "demo", NamespaceLabels: map[string]string{meshv1beta2.LabelInject: "enabled"},
		VirtualNodes: []*meshv1beta2.VirtualNode{node}, Meshes: []*meshv1beta2.Mesh{{ObjectMeta: metav1.ObjectMeta{Name: "demo"}}},
	}, c)
	if err != nil || a.Report.Outcome != inject.Injected {
		t.Fatal(a.Report, err)
	}
	return a.Pod
}

const previous = `{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/var/run/netns/x"}],"ips":[{"interface":0,"address":"10.254.7.2/24"}]}`

// call makes one call of the protocol and returns the output and whether it succeeded.
func (r *containerRuntime) call(command, stdin string) (string, bool) {
	r.t.Helper()
	if stdin == "" {
		stdin = fmt.Sprintf(`{"cniVersion":"1.0.0","name":"n","type":%q,"kubeconfig":%q,"recordDir":%q,"prevResult":%s}`, cni.Type, r.kubeconfig, r.records, previous)
	}
	cmd := exec.CommandContext(r.t.Context(), r.program)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+command, "CNI_CONTAINERID=c1", "CNI_NETNS=/var/run/netns/"+r.lab.pod, "CNI_IFNAME=eth0", "CNI_PATH=/nowhere",
		"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=front;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err == nil
}

func TestThePluginRedirectsPodsInCNIForm(t *testing.T) {
	r := newRuntime(t)
	furnish(r.lab)
	direct := bothFamilies([]attempt{{"in", true, owner{}, "pod:8080", "app"}, {"out", false, owner{}, "far:80", "world"}})
	redirected := bothFamilies([]attempt{
		{"in", true, owner{}, "pod:8080", "in DST"}, {"out", false, owner{}, "far:80", "out DST"},
		{"the proxy's user", false, owner{uid: 1337}, "far:80", "world"}, {"a port of the annotation", false, owner{}, "far:5432", "world"},
		{"another inbound port", true, owner{}, "pod:9090", "app"},
	})
	expect := func(what string, attempts []attempt) {
		t.Helper()
		for _, a := range attempts {
			a.name = what + ": " + a.name
			a.check(t, r.lab)
		}
	}
	plain := inCNIForm(t)
	plain.Annotations = nil
	r.pod = plain
	if out, ok := r.call("ADD", ""); !ok || !strings.Contains(out, "10.254.7.2/24") {
		t.Fatal("a pod of nobody's: ", out)
	}
	expect("a pod of nobody's", direct)

	r.pod = inCNIForm(t)
	if out, ok := r.call("CHECK", ""); ok || !strings.Contains(out, "pod demo/front is not redirected") {
		t.Error("CHECK before ADD: ", out)
	}
	for _, time := range []string{"first", "second"} {
		out, ok := r.call("ADD", "")
		if !ok || !strings.Contains(out, "10.254.7.2/24") {
			t.Fatalf("the %s time: %s", time, out)
		}
		expect(time, redirected)
	}
	if out, ok := r.call("CHECK", ""); !ok {
		t.Error("CHECK: ", out)
	}
	if _, err := os.Stat(filepath.Join(r.records, "u1")); err != nil {
		t.Error(err)
	}
	if out, ok := r.call("DEL", ""); !ok {
		t.Error("DEL: ", out)
	}
	if _, err := os.Stat(filepath.Join(r.records, "u1")); err == nil {
		t.Error("the pod is still noted after DEL")
	}
}

func TestThePluginFailsWithWords(t *testing.T) {
	r := newRuntime(t)
	bad := inCNIForm(t)
	bad.Annotations[meshv1beta2.AnnotationEgressIgnoredIPs] = "nowhere"
	other := inCNIForm(t)
	other.UID = types.UID("u2")
	conf := func(prev string) string {
		return fmt.Sprintf(`{"cniVersion":"1.0.0","name":"n","type":%q,"kubeconfig":%q,"recordDir":%q%s}`, cni.Type, r.kubeconfig, r.records, prev)
	}
	for _, c := range []struct {
		what, command, stdin string
		pod                  *corev1.Pod
		want                 string
	}{
		{"an annotation that cannot be read", "ADD", "", bad, `pod demo/front: the annotations appmesh.k8s.aws/…`},
		{"a pod that was recreated", "ADD", "", other, "it was recreated"},
		{"no pod", "ADD", "", nil, "read pod demo/front from the API server"},
		{"first in the chain", "ADD", conf(""), inCNIForm(t), "stands behind the plugin that makes the interface"},
		{"no credential", "ADD", fmt.Sprintf(`{"cniVersion":"1.0.0","name":"n","type":%q}`, cni.Type), inCNIForm(t), "aftermesh cni install writes it"},
		{"a credential that is gone", "STATUS", `{"cniVersion":"1.1.0","name":"n","type":"x","kubeconfig":"/gone","recordDir":"/x"}`, nil, "/gone"},
	} {
		r.pod = c.pod
		if out, ok := r.call(c.command, c.stdin); ok || !strings.Contains(out, c.want) {
			t.Errorf("%s: %v %s, want %q", c.what, ok, out, c.want)
		}
	}
	for _, stdin := range []string{"", conf(""), `{"cniVersion":"1.0.0","name":"n","type":"x"}`} {
		if out, ok := r.call("DEL", stdin); !ok {
			t.Errorf("DEL with %q: %s", stdin, out)
		}
	}
}
