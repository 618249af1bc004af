package controllers

import (
	"os"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

// TestTheNetworkPolicyNamesEveryPort: a port of the Deployment that the policy lacks would be reached by nobody, and replicas are reached by
// replicas only.
func TestTheNetworkPolicyNamesEveryPort(t *testing.T) {
	t.Parallel()
	var deployment appsv1.Deployment
	var policy networkingv1.NetworkPolicy
	for file, into := range map[string]any{"deployment.yaml": &deployment, "networkpolicy.yaml": &policy} {
		text, err := os.ReadFile("../config/manager/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(text, into); err != nil {
			t.Fatal(err)
		}
	}
	type port struct {
		name     string
		protocol corev1.Protocol
	}
	named := map[port]bool{} // true if it has bounds
	for _, rule := range policy.Spec.Ingress {
		for _, p := range rule.Ports {
			key := port{p.Port.String(), corev1.ProtocolTCP}
			if p.Protocol != nil {
				key.protocol = *p.Protocol
			}
			named[key] = len(rule.From) > 0
		}
	}
	for _, p := range deployment.Spec.Template.Spec.Containers[0].Ports {
		key := port{p.Name, corev1.ProtocolTCP}
		if p.Protocol != "" {
			key.protocol = p.Protocol
		}
		bounded, ok := named[key]
		if !ok {
			t.Errorf("port %s/%s is closed", p.Name, key.protocol)
		}
		if bounded != (p.Name == "peer") {
			t.Errorf("port %s: bounded %t", p.Name, bounded)
		}
	}
}
