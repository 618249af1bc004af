package inject

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
)

// Status is the content of the annotation "appmesh.k8s.aws/sidecarStatus". It tells that a pod was injected, by which
// release and with which root, so that outdated pods can be found.
type Status struct {
	// Version of the operator.
	Version string `json:"version"`
	// Node is the identity, as in AnnotationNode.
	Node string `json:"node"`
	// Template is a short hash of what the injector decided: image, arguments and variables of the proxy.
	Template string `json:"template"`
	// ControlPlaneCA is a short hash of the root that the pod trusts for the control plane (see CAHash).
	ControlPlaneCA string `json:"controlPlaneCA"`
	// Originals are absent when nothing was rewritten.
	Originals *Originals `json:"originals,omitempty"`
}

// Originals are the parts of a pod that were rewritten, as they were.
type Originals struct {
	// Probes by "<container>/<kind>", of the kinds liveness, readiness, startup, postStart and preStop.
	Probes map[string]corev1.ProbeHandler `json:"probes,omitempty"`
	// Annotations by which Prometheus found the pod's statistics.
	Annotations map[string]string `json:"annotations,omitempty"`
}

// SameProxy is true when both stand for the same proxy of the same node. What was rewritten for it shows in the template.
func (s Status) SameProxy(other Status) bool {
	s.Originals, other.Originals = nil, nil
	return s == other
}

// ReadStatus returns what an injected pod says about its injection; false if it was not injected.
func ReadStatus(pod *corev1.Pod) (Status, bool) {
	var s Status
	text := pod.Annotations[annotationStatus]
	return s, text != "" && json.Unmarshal([]byte(text), &s) == nil
}

// CAHash is the short hash by which Status names a root certificate in PEM.
func CAHash(pem string) string { return shortHash([]byte(pem)) }

// shortHash is 64 bits in hexadecimal: enough to tell versions of one thing apart.
func shortHash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}

// mark writes the annotations by which the control plane, tools and a later injection know the pod.
// Only what the API server gives no defaults to goes into the hash, so that it is the same when the pod comes by again.
func (w *work) mark(user map[string]string, managed variables, envoy *corev1.Container, helper []string) error {
	profile, err := encodeProfile(w.profile(user))
	if err != nil {
		return err
	}
	decided := []any{envoy.Image, envoy.Command, envoy.Args, managed.sorted(), w.pod.Annotations[annotationBootstrap]}
	if len(helper) > 0 {
		decided = append(decided, helper)
	}
	template, err := json.Marshal(decided)
	if err != nil {
		return fmt.Errorf("encode the proxy's container: %w", err)
	}
	facts := Status{
		Version: w.config.Version, Node: w.target.Name(),
		Template: shortHash(template), ControlPlaneCA: CAHash(w.config.ControlPlane.CA),
	}
	if len(w.originals.Probes)+len(w.originals.Annotations) > 0 {
		facts.Originals = &w.originals
	}
	status, err := json.Marshal(facts)
	if err != nil {
		return fmt.Errorf("encode status: %w", err)
	}
	w.annotate(map[string]string{
		meshv1beta2.AnnotationNode:       w.target.Name(),
		meshv1beta2.AnnotationProfile:    profile,
		meshv1beta2.AnnotationCredential: bootstrap.CredentialSDS(credentialPath + "/" + tokenFile),
		annotationStatus:                 string(status),
	})
	return nil
}

// profile is the part of the pod's facts that its group of proxies shares.
func (w *work) profile(user map[string]string) meshv1beta2.Profile {
	p := meshv1beta2.Profile{
		IPFamilies: w.config.IPFamilies, SDS: w.request.sds, InjectorVersion: w.config.Version,
		MetricExtension: user["APPMESH_METRIC_EXTENSION_VERSION"] == "1",
	}
	if w.target.Node != nil {
		p.CapturedPorts = w.capturedPorts()
	}
	return p
}

// encodeProfile writes a profile as JSON. "No port is captured" must not be left out: an absent list means "unknown".
func encodeProfile(p meshv1beta2.Profile) (string, error) {
	text, err := json.Marshal(struct {
		meshv1beta2.Profile
		CapturedPorts *[]int `json:"ports,omitempty"`
	}{p, ports(p)})
	if err != nil {
		return "", fmt.Errorf("encode profile: %w", err)
	}
	return string(text), nil
}

func ports(p meshv1beta2.Profile) *[]int {
	if p.CapturedPorts == nil {
		return nil
	}
	return &p.CapturedPorts
}
