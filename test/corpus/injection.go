package corpus

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// injection is what a check of that kind expects of the pods of a workload.
type injection struct {
	Proxy, Ready    string
	Rejected        bool
	MessageContains string            `yaml:"messageContains"`
	ImageOverridden *bool             `yaml:"imageOverridden"`
	Env             map[string]string `yaml:"env"`
	Mounts          []mount
	Files           []string
	CapturedPorts   []int  `yaml:"capturedPorts"`
	ReadinessGate   string `yaml:"readinessGate"`
}

// mount is a volume mount of the proxy container.
type mount struct {
	Path, Secret, Volume string
	HostPath             string `yaml:"hostPath"`
	ReadOnly             *bool  `yaml:"readOnly"`
}

func (t *run) checkInjection(ctx context.Context, c Check) error {
	var want injection
	if err := decodeNode(&c.Expect, &want); err != nil {
		return err
	}
	ns, name, _ := strings.Cut(c.Workload, "/")
	if want.Rejected {
		return t.checkRejected(ctx, ns, name, want.MessageContains)
	}
	pods, err := t.kube.pods(ctx, ns, name)
	if err != nil {
		return err
	}
	for _, p := range pods {
		if err := want.judge(p, t.manifestImage(ns, name)); err != nil {
			return fmt.Errorf("pod %s: %w", p.Name, err)
		}
		if err := t.filesThere(ctx, p, want.Files); err != nil {
			return fmt.Errorf("pod %s: %w", p.Name, err)
		}
	}
	return nil
}

// checkRejected looks for the refusal that a Deployment reports when its pods are not let in.
func (t *run) checkRejected(ctx context.Context, ns, name, message string) error {
	d, err := t.kube.typed.AppsV1().Deployments(ns).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, c := range d.Status.Conditions {
		if c.Type != "ReplicaFailure" || c.Status != corev1.ConditionTrue {
			continue
		}
		if !strings.Contains(c.Message, message) {
			return fmt.Errorf("pods are refused with %q, which does not contain %q", c.Message, message)
		}
		return nil
	}
	return fmt.Errorf("pods of deployment %s/%s are not refused", ns, name)
}

// expectsRefusal says whether a check of the step expects that a workload's pods are refused.
func expectsRefusal(s Step, d Ref) bool {
	return slices.ContainsFunc(s.Checks, func(c Check) bool {
		var want injection
		return c.Kind == "injection" && c.Workload == d.Namespace+"/"+d.Name && decodeNode(&c.Expect, &want) == nil && want.Rejected
	})
}

// manifestImage is the image of the proxy container in the manifest of a Deployment, empty if the manifest has none.
func (t *run) manifestImage(ns, name string) string {
	for _, u := range t.applied {
		if u.GetKind() != "Deployment" || u.GetNamespace() != ns || u.GetName() != name {
			continue
		}
		list, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
		for _, raw := range list {
			if c, ok := raw.(map[string]any); ok && c["name"] == proxyContainer {
				return fmt.Sprint(c["image"])
			}
		}
	}
	return ""
}

// proxyContainer is the name of the proxy container of sidecars and gateways.
const proxyContainer = "envoy"

// proxyIn returns the proxy container of a pod, nil if it has none.
func proxyIn(p corev1.Pod) *corev1.Container {
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			if list[i].Name == proxyContainer {
				return &list[i]
			}
		}
	}
	return nil
}

// judge compares one pod; image is that of the proxy container in the manifest.
func (want injection) judge(p corev1.Pod, image string) error {
	if got := proxyOf(p); want.Proxy != "" && got != want.Proxy {
		return fmt.Errorf("it has proxy %q, expected %q", got, want.Proxy)
	}
	if got := readiness(p); want.Ready != "" && got != want.Ready {
		return fmt.Errorf("%s containers are ready, expected %s", got, want.Ready)
	}
	if err := want.gate(p); err != nil {
		return err
	}
	if want.ImageOverridden == nil && want.Env == nil && want.Mounts == nil && want.CapturedPorts == nil && want.Files == nil {
		return nil
	}
	proxy := proxyIn(p)
	if proxy == nil {
		return errors.New("it has no proxy container")
	}
	if o := want.ImageOverridden; o != nil && (proxy.Image != image) != *o {
		return fmt.Errorf("the proxy's image is %q, in the manifest %q, expected another one: %v", proxy.Image, image, *o)
	}
	for k, v := range want.Env {
		i := slices.IndexFunc(proxy.Env, func(e corev1.EnvVar) bool { return e.Name == k })
		if i < 0 || proxy.Env[i].Value != v {
			return fmt.Errorf("variable %s of the proxy is not %q: %v", k, v, proxy.Env)
		}
	}
	for _, m := range want.Mounts {
		if err := m.judge(p, proxy); err != nil {
			return err
		}
	}
	return want.captured(p)
}

// gate demands that a readiness gate, if the pod has it, is True.
func (want injection) gate(p corev1.Pod) error {
	has := slices.ContainsFunc(p.Spec.ReadinessGates, func(g corev1.PodReadinessGate) bool { return string(g.ConditionType) == want.ReadinessGate })
	isTrue := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return string(c.Type) == want.ReadinessGate && c.Status == corev1.ConditionTrue
	})
	if has && !isTrue {
		return fmt.Errorf("readiness gate %s is not True", want.ReadinessGate)
	}
	return nil
}

// judge looks for a mount in the proxy container, and for what it mounts.
func (m mount) judge(p corev1.Pod, proxy *corev1.Container) error {
	i := slices.IndexFunc(proxy.VolumeMounts, func(v corev1.VolumeMount) bool { return path.Clean(v.MountPath) == path.Clean(m.Path) })
	if i < 0 {
		return fmt.Errorf("the proxy mounts nothing at %s", m.Path)
	}
	got := proxy.VolumeMounts[i]
	v := slices.IndexFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == got.Name })
	switch {
	case v < 0:
		return fmt.Errorf("the volume %s at %s does not exist", got.Name, m.Path)
	case m.Volume != "" && got.Name != m.Volume:
		return fmt.Errorf("volume %s at %s, expected %s", got.Name, m.Path, m.Volume)
	case m.ReadOnly != nil && got.ReadOnly != *m.ReadOnly:
		return fmt.Errorf("the mount at %s is read-only: %v, expected %v", m.Path, got.ReadOnly, *m.ReadOnly)
	}
	source := p.Spec.Volumes[v].VolumeSource
	if m.Secret != "" && (source.Secret == nil || source.Secret.SecretName != m.Secret) {
		return fmt.Errorf("the volume at %s is not of the secret %s", m.Path, m.Secret)
	}
	if m.HostPath != "" && (source.HostPath == nil || source.HostPath.Path != m.HostPath) {
		return fmt.Errorf("the volume at %s is not of the host's %s", m.Path, m.HostPath)
	}
	return nil
}

// portsVariable tells the redirect step which ports it captures on the way in.
const portsVariable = "APPMESH_APP_PORTS"

// captured compares the inbound ports that are redirected to the proxy.
func (want injection) captured(p corev1.Pod) error {
	if want.CapturedPorts == nil {
		return nil
	}
	for _, c := range p.Spec.InitContainers {
		for _, e := range c.Env {
			if e.Name != portsVariable {
				continue
			}
			var got []int
			for _, s := range strings.FieldsFunc(e.Value, func(r rune) bool { return r == ',' || r == ' ' }) {
				n, err := strconv.Atoi(s)
				if err != nil {
					return fmt.Errorf("captured ports %q: %w", e.Value, err)
				}
				got = append(got, n)
			}
			slices.Sort(got)
			if !slices.Equal(got, slices.Sorted(slices.Values(want.CapturedPorts))) {
				return fmt.Errorf("captured ports %v, expected %v", got, want.CapturedPorts)
			}
			return nil
		}
	}
	return errors.New("the pod has no step that redirects ports")
}

// filesThere looks for files of the proxy container in the ConfigMaps and Secrets that it mounts: its image has no program that
// could list them, and of a mounted volume the kubelet makes all files before the container starts.
func (t *run) filesThere(ctx context.Context, p corev1.Pod, files []string) error {
	for _, f := range files {
		proxy := proxyIn(p)
		i := slices.IndexFunc(proxy.VolumeMounts, func(v corev1.VolumeMount) bool {
			return path.Clean(v.MountPath) == path.Dir(f) && v.SubPath == ""
		})
		if i < 0 {
			return fmt.Errorf("the proxy mounts nothing at %s", path.Dir(f))
		}
		v := slices.IndexFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == proxy.VolumeMounts[i].Name })
		if v < 0 {
			return fmt.Errorf("the volume %s does not exist", proxy.VolumeMounts[i].Name)
		}
		keys, err := t.keys(ctx, p.Namespace, p.Spec.Volumes[v].VolumeSource)
		if err != nil {
			return err
		}
		if !slices.Contains(keys, path.Base(f)) {
			return fmt.Errorf("%s holds %v, expected %s", path.Dir(f), keys, path.Base(f))
		}
	}
	return nil
}

// keys are the files of a volume.
func (t *run) keys(ctx context.Context, ns string, source corev1.VolumeSource) ([]string, error) {
	var out []string
	switch {
	case source.ConfigMap != nil && len(source.ConfigMap.Items) == 0:
		m, err := t.kube.typed.CoreV1().ConfigMaps(ns).Get(ctx, source.ConfigMap.Name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		for k := range m.Data {
			out = append(out, k)
		}
	case source.Secret != nil && len(source.Secret.Items) == 0:
		s, err := t.kube.typed.CoreV1().Secrets(ns).Get(ctx, source.Secret.SecretName, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		for k := range s.Data {
			out = append(out, k)
		}
	default:
		return nil, notYet("files of volumes other than whole ConfigMaps and Secrets")
	}
	return out, nil
}
