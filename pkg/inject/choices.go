package inject

import (
	"regexp"
	"strconv"
	"strings"
)

// Annotations of our own.
const (
	// annotationNative "enabled" makes Envoy a native sidecar, "disabled" an ordinary container; absent: the flag's.
	annotationNative = "aftermesh.dev/native-sidecar"
	// annotationInitFirst "enabled" starts the proxy before the pod's own init containers, which then are in the mesh too.
	annotationInitFirst = "aftermesh.dev/init-first"
	// annotationHold "disabled" lets the application start before Envoy has its configuration, "enabled" makes it wait.
	annotationHold = "aftermesh.dev/hold-application"
	// annotationRewrite says which probes and scrapes are led past the listeners, see rewriting.
	annotationRewrite = "aftermesh.dev/rewrite-probes"
	// annotationImage is the image of Envoy in this pod.
	annotationImage = "aftermesh.dev/sidecar-image"
	// annotationConcurrency is the count of Envoy's workers.
	annotationConcurrency = "aftermesh.dev/envoy-concurrency"
	// annotationBootstrap holds the bootstrap of a gateway that starts Envoy by its own command; it becomes a file.
	annotationBootstrap = "aftermesh.dev/bootstrap"
)

// rewriting is a value of annotationRewrite.
type rewriting string

const (
	// rewriteAuto leads past listeners what their TLS would refuse.
	rewriteAuto rewriting = "auto"
	// rewriteAll leads past all listeners.
	rewriteAll rewriting = "enabled"
	// rewriteNone leaves everything as it is.
	rewriteNone rewriting = "disabled"
)

// readChoices reads our own annotations.
func (r *request) readChoices(a map[string]string, c Config) error {
	r.native = c.NativeSidecar
	if err := onOff(a, annotationNative, &r.native); err != nil {
		return err
	}
	// A plugin redirects from the pod's first moment: init containers could reach nothing before Envoy runs.
	r.initFirst = r.cni && r.native
	if err := onOff(a, annotationInitFirst, &r.initFirst); err != nil {
		return err
	}
	if r.initFirst && !r.native {
		return deny("annotation %s needs the native sidecar: init containers end before an ordinary container starts; remove it, or set annotation %s to enabled",
			annotationInitFirst, annotationNative)
	}
	r.hold = r.native || c.WaitUntilProxyReady
	if err := onOff(a, annotationHold, &r.hold); err != nil {
		return err
	}
	word, err := choose(a, annotationRewrite, string(rewriteAuto), string(rewriteAll), string(rewriteNone))
	if err != nil {
		return err
	}
	if r.rewrite = rewriting(word); word == "" {
		r.rewrite = rewriteAuto
	}
	return r.readEnvoy(a)
}

// imageReference is the form of an image's name: no blanks, nothing that a command line would take for an option.
var imageReference = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]*$`)

func (r *request) readEnvoy(a map[string]string) error {
	if r.image = strings.TrimSpace(a[annotationImage]); r.image != "" && !imageReference.MatchString(r.image) {
		return deny("annotation %s has the value %q, expected an image such as envoyproxy/envoy:distroless-v1.40.0", annotationImage, r.image)
	}
	text := strings.TrimSpace(a[annotationConcurrency])
	if text == "" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return deny("annotation %s has the value %q, expected a whole number from 1 up", annotationConcurrency, text)
	}
	r.concurrency = n
	return nil
}

// onOff lets an annotation decide about a setting; absent or empty it leaves it as it is.
func onOff(a map[string]string, key string, setting *bool) error {
	word, err := choose(a, key, "enabled", "disabled")
	if word != "" {
		*setting = word == "enabled"
	}
	return err
}

// choose reads an annotation that knows only certain words, in any case; empty when it is absent.
func choose(a map[string]string, key string, words ...string) (string, error) {
	value := strings.TrimSpace(a[key])
	if value == "" {
		return "", nil
	}
	for _, word := range words {
		if strings.EqualFold(value, word) {
			return word, nil
		}
	}
	last := len(words) - 1
	return "", deny("annotation %s has the value %q, expected %s or %s", key, value, strings.Join(words[:last], ", "), words[last])
}
