package inject

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/redirect"
)

// Annotations of App Mesh on pods besides those of package api. Source: App Mesh controller reference, sidecar injector.
const (
	annotationIPv6             = "appmesh.k8s.aws/ipv6"
	annotationCNI              = "appmesh.k8s.aws/appmeshCNI"
	annotationProxyEgressPort  = "appmesh.k8s.aws/proxyEgressPort"
	annotationProxyIngressPort = "appmesh.k8s.aws/proxyIngressPort"
	annotationIgnoredUID       = "appmesh.k8s.aws/ignoredUID"
	annotationCPURequest       = "appmesh.k8s.aws/cpuRequest"
	annotationMemoryRequest    = "appmesh.k8s.aws/memoryRequest"
	annotationCPULimit         = "appmesh.k8s.aws/cpuLimit"
	annotationMemoryLimit      = "appmesh.k8s.aws/memoryLimit"
	annotationSecretMounts     = "appmesh.k8s.aws/secretMounts"
	annotationVolumeMounts     = "appmesh.k8s.aws/volumeMounts"
	annotationSidecarEnv       = "appmesh.k8s.aws/sidecarEnv"
	annotationSidecarEnvJSON   = "appmesh.k8s.aws/sidecarEnvJson"
	annotationSDS              = "appmesh.k8s.aws/sds"
	annotationPreview          = "appmesh.k8s.aws/preview"
	annotationXRayConfigMount  = "appmesh.k8s.aws/xrayAgentConfigMount"
	annotationSkipImage        = "appmesh.k8s.aws/virtualGatewaySkipImageOverride"
	// annotationStatus marks an injected pod, see status in marks.go.
	annotationStatus = "appmesh.k8s.aws/sidecarStatus"
)

// fargateLabel marks pods on Fargate, where containers get no NET_ADMIN and a CNI plugin redirects.
const fargateLabel = "eks.amazonaws.com/fargate-profile"

// mount is one element of secretMounts or volumeMounts.
type mount struct{ source, path string }

// request is what one pod asks for by its annotations, checked.
type request struct {
	// ports are the inbound ports to redirect, as written and as numbers; portsSet tells "" from absent.
	portsText string
	ports     []uint16
	portsSet  bool
	// ignoredPorts and ignoredIPs replace the defaults; nil means absent.
	ignoredPorts, ignoredIPs *string
	ipv6                     bool
	cni                      bool
	resources                Resources
	secretMounts             []mount
	volumeMounts             []mount
	env                      map[string]string
	sds                      bool
	preview                  bool
	xrayConfig               *mount
	keepImage                bool
	// native makes Envoy a native sidecar; hold makes the application wait for it; initFirst puts it before init containers.
	native, hold, initFirst bool
	rewrite                 rewriting
	// image and concurrency are empty and 0 unless the pod has its own.
	image       string
	concurrency int
	// region and zone are the labels that say where the pod runs, as its author wrote them.
	region, zone string
}

// readAnnotations checks what the pod's annotations ask for. The error is a Denial that names the annotation.
func readAnnotations(pod *corev1.Pod, c Config) (request, error) {
	a := pod.Annotations
	r := request{
		ipv6: a[annotationIPv6] != "disabled",
		cni:  c.CNI || pod.Labels[fargateLabel] != "",
		resources: Resources{
			a[annotationCPURequest], a[annotationMemoryRequest], a[annotationCPULimit], a[annotationMemoryLimit],
		},
		sds:       c.SDS && a[annotationSDS] != "disabled",
		preview:   c.Preview,
		keepImage: strings.EqualFold(a[annotationSkipImage], "enabled"),
	}
	// A pod that is made for a certain node has that node's labels already when the webhook sees it. They are nobody's wish.
	if pod.Spec.NodeName == "" {
		r.region, r.zone = pod.Labels[corev1.LabelTopologyRegion], pod.Labels[corev1.LabelTopologyZone]
	}
	if value, ok := a[annotationCNI]; ok {
		r.cni = strings.EqualFold(value, "enabled")
	}
	if value, ok := a[annotationPreview]; ok {
		r.preview = strings.EqualFold(value, "enabled")
	}
	if _, err := c.Resources.override(r.resources).requirements(); err != nil {
		return r, deny("malformed resource annotation (%s, …): %v", annotationCPURequest, err)
	}
	for _, read := range []func(map[string]string) error{r.readPorts, r.readMounts, r.readEnv} {
		if err := read(a); err != nil {
			return r, err
		}
	}
	return r, r.readChoices(a, c)
}

func (r *request) readPorts(a map[string]string) (err error) {
	if r.portsText, r.portsSet = a[meshv1beta2.AnnotationPorts]; r.portsSet {
		if r.ports, err = redirect.ParsePorts(r.portsText); err != nil {
			return deny("malformed annotation %s, expected format: port[,port]: %v", meshv1beta2.AnnotationPorts, err)
		}
	}
	if value, ok := a[meshv1beta2.AnnotationEgressIgnoredPorts]; ok {
		r.ignoredPorts = &value
		if _, err = redirect.ParsePorts(value); err != nil {
			return deny("malformed annotation %s, expected format: port[,port]: %v", meshv1beta2.AnnotationEgressIgnoredPorts, err)
		}
	}
	if value, ok := a[meshv1beta2.AnnotationEgressIgnoredIPs]; ok {
		r.ignoredIPs = &value
		if _, err = redirect.ParsePrefixes(value); err != nil {
			return deny("malformed annotation %s, expected format: address[,CIDR]: %v", meshv1beta2.AnnotationEgressIgnoredIPs, err)
		}
	}
	return nil
}

func (r *request) readMounts(a map[string]string) (err error) {
	if r.secretMounts, err = parseMounts(a, annotationSecretMounts, "secretName:mountPath"); err != nil {
		return err
	}
	if r.volumeMounts, err = parseMounts(a, annotationVolumeMounts, "volumeName:mountPath"); err != nil {
		return err
	}
	mounts, err := parseMounts(a, annotationXRayConfigMount, "volumeName:mountPath")
	if err != nil {
		return err
	}
	if len(mounts) > 1 {
		return deny("malformed annotation %s, expected format: volumeName:mountPath", annotationXRayConfigMount)
	}
	if len(mounts) == 1 {
		r.xrayConfig = &mounts[0]
	}
	return nil
}

// parseMounts reads "source:path[, source:path]", sorted by path.
func parseMounts(a map[string]string, key, format string) ([]mount, error) {
	if strings.TrimSpace(a[key]) == "" {
		return nil, nil
	}
	var mounts []mount
	for item := range strings.SplitSeq(a[key], ",") {
		source, path, ok := strings.Cut(strings.TrimSpace(item), ":")
		source, path = strings.TrimSpace(source), strings.TrimSpace(path)
		if !ok || source == "" || path == "" || strings.Contains(path, ":") {
			return nil, deny("malformed annotation %s, expected format: %s", key, format)
		}
		mounts = append(mounts, mount{source, path})
	}
	slices.SortFunc(mounts, func(a, b mount) int { return strings.Compare(a.path, b.path) })
	for i := 1; i < len(mounts); i++ {
		if mounts[i].path == mounts[i-1].path {
			return nil, deny("annotation %s mounts %s twice", key, mounts[i].path)
		}
	}
	return mounts, nil
}

// readEnv reads both annotations for extra variables; the JSON form wins.
func (r *request) readEnv(a map[string]string) error {
	r.env = map[string]string{}
	if text := a[annotationSidecarEnv]; strings.TrimSpace(text) != "" {
		for item := range strings.SplitSeq(text, ",") {
			parts := strings.Split(item, "=")
			if len(parts) != 2 || strings.TrimSpace(parts[0]) == "" {
				return deny("malformed annotation %s, expected format: KEY=VALUE[, KEY=VALUE]; for values with , or = use %s",
					annotationSidecarEnv, annotationSidecarEnvJSON)
			}
			r.env[strings.TrimSpace(parts[0])] = strings.TrimSpace(parts[1])
		}
	}
	if text := a[annotationSidecarEnvJSON]; strings.TrimSpace(text) != "" {
		var objects []map[string]string
		if err := json.Unmarshal([]byte(text), &objects); err != nil {
			return deny(`malformed annotation %s, expected format: [{"KEY":"VALUE"}] with texts only`, annotationSidecarEnvJSON)
		}
		for _, object := range objects {
			maps.Copy(r.env, object)
		}
	}
	for name := range r.env {
		if strings.HasPrefix(name, ownVariables) {
			return deny("annotation %s or %s sets %s, but variables that begin with %s are reserved",
				annotationSidecarEnv, annotationSidecarEnvJSON, name, ownVariables)
		}
	}
	return nil
}

// joinPorts writes ports as annotations and variables do.
func joinPorts[T any](ports []T) string {
	words := make([]string, len(ports))
	for i, port := range ports {
		words[i] = fmt.Sprint(port)
	}
	return strings.Join(words, ",")
}
