package inject

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

var update = flag.Bool("update", false, "rewrite the expected files of testdata")

// testConfig are the settings that golden files change.
func testConfig() Config {
	c := Defaults()
	c.Version, c.ControlPlane.CA = "v0.0.0-test", "root"
	return c
}

// scene is one input file: the settings, the objects of the namespace, and the pod.
type scene struct {
	config  Config
	objects Objects
	pod     *corev1.Pod
}

func readScene(t *testing.T, path string) scene {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := scene{config: testConfig(), pod: &corev1.Pod{}}
	for _, document := range strings.Split(string(content), "\n---\n") {
		var head struct {
			Kind     string            `json:"kind"`
			Metadata metav1.ObjectMeta `json:"metadata"`
			Spec     json.RawMessage   `json:"spec"`
		}
		decode(t, path, document, &head)
		switch head.Kind {
		case "Config":
			decode(t, path, string(head.Spec), &s.config)
		case "Namespace":
			s.objects.Namespace, s.objects.NamespaceLabels = head.Metadata.Name, head.Metadata.Labels
		case "Mesh":
			s.objects.Meshes = append(s.objects.Meshes, decode(t, path, document, &meshv1beta2.Mesh{}))
		case "VirtualNode":
			s.objects.VirtualNodes = append(s.objects.VirtualNodes, decode(t, path, document, &meshv1beta2.VirtualNode{}))
		case "VirtualGateway":
			s.objects.VirtualGateways = append(s.objects.VirtualGateways, decode(t, path, document, &meshv1beta2.VirtualGateway{}))
		case "Pod":
			decode(t, path, document, s.pod)
		default:
			t.Fatalf("%s: unknown kind %q", path, head.Kind)
		}
	}
	return s
}

func decode[T any](t *testing.T, path, document string, into T) T {
	t.Helper()
	if err := yaml.Unmarshal([]byte(document), into); err != nil {
		t.Fatalf("%s: %v\n%s", path, err, document)
	}
	return into
}

func admit(t *testing.T, s scene) Admission {
	t.Helper()
	answer, err := Admit(s.pod, s.objects, s.config)
	if err != nil {
		t.Fatalf("admit: %v", err)
	}
	return answer
}

func scenes(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(path string) bool { return strings.HasSuffix(path, ".golden.yaml") })
}

// Each golden file shows the report, the pod, and what its bootstrap has that the plain sidecar's has not.
func TestPodsAreInjectedAsExpected(t *testing.T) {
	plain := bootstrapOf(t, admit(t, readScene(t, "testdata/plain.yaml")).Pod)
	for _, path := range scenes(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			answer := admit(t, readScene(t, path))
			base := plain
			if strings.HasSuffix(path, "/plain.yaml") {
				base = nil
			}
			got := render(t, answer, base)
			golden := strings.TrimSuffix(path, ".yaml") + ".golden.yaml"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s (-want +got; -update rewrites it):\n%s", golden, diff)
			}
		})
	}
}

// render prints an answer with the bootstrap as a document of its own.
func render(t *testing.T, answer Admission, base map[string]any) []byte {
	t.Helper()
	config := bootstrapOf(t, answer.Pod)
	changed := map[string]any{}
	for key, value := range config {
		if cmp.Diff(base[key], value) != "" {
			changed[key] = value
		}
	}
	pod := answer.Pod.DeepCopy()
	eachEnvoy(pod, func(c *corev1.Container) {
		if oursToStart(c.Args) || c.Name == helperContainer && c.Args[0] == "--base" {
			c.Args[1] = "BOOTSTRAP"
		}
	})
	var out bytes.Buffer
	for line := range strings.Lines(answer.Report.String() + "\n") {
		fmt.Fprint(&out, "# ", line)
	}
	for i, part := range []any{pod, map[string]any{"bootstrap": changed}} {
		text, err := yaml.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(text)
	}
	return out.Bytes()
}

func eachEnvoy(pod *corev1.Pod, do func(*corev1.Container)) {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == envoyContainer || list[i].Name == helperContainer {
				do(&list[i])
			}
		}
	}
}

// bootstrapOf decodes the bootstrap in the arguments of Envoy or its helper; nil if there is none.
func bootstrapOf(t *testing.T, pod *corev1.Pod) map[string]any {
	t.Helper()
	var config map[string]any
	eachEnvoy(pod, func(c *corev1.Container) {
		if len(c.Args) > 1 && strings.HasPrefix(c.Args[1], "{") {
			if err := json.Unmarshal([]byte(c.Args[1]), &config); err != nil {
				t.Fatalf("bootstrap is not JSON: %v\n%s", err, c.Args[1])
			}
		}
	})
	return config
}

func TestInjectingTwiceIsInjectingOnce(t *testing.T) {
	for _, path := range scenes(t) {
		s := readScene(t, path)
		once := admit(t, s).Pod
		// Between two webhooks the pod travels as JSON and gets Kubernetes' defaults.
		s.pod = defaulted(t, once)
		twice := admit(t, s)
		if diff := cmp.Diff(s.pod, twice.Pod); diff != "" {
			t.Errorf("%s: second injection changed the pod (-once +twice):\n%s", path, diff)
		}
	}
}

// defaulted is the pod after a way through the API server, as far as our own additions get defaults there.
func defaulted(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	text, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	out := &corev1.Pod{}
	if err := json.Unmarshal(text, out); err != nil {
		t.Fatal(err)
	}
	mode := int32(0o644)
	for i := range out.Spec.Volumes {
		if p := out.Spec.Volumes[i].Projected; p != nil {
			p.DefaultMode = &mode
		}
	}
	eachEnvoy(out, func(c *corev1.Container) { c.ImagePullPolicy = corev1.PullIfNotPresent })
	return out
}

func TestTheGivenPodIsNotChanged(t *testing.T) {
	for _, path := range scenes(t) {
		s := readScene(t, path)
		before := s.pod.DeepCopy()
		admit(t, s)
		if diff := cmp.Diff(before, s.pod); diff != "" {
			t.Errorf("%s: the pod given was changed (-before +after):\n%s", path, diff)
		}
	}
}

func TestTheSameInputGivesTheSameBytes(t *testing.T) {
	for _, path := range scenes(t) {
		seen := map[string]bool{}
		for range 20 {
			answer := admit(t, readScene(t, path))
			text, err := json.Marshal(answer)
			if err != nil {
				t.Fatal(err)
			}
			seen[string(text)] = true
		}
		if len(seen) != 1 {
			t.Errorf("%s: %d different results: %v", path, len(seen), slices.Collect(maps.Keys(seen)))
		}
	}
}
