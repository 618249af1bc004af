package corpus

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// injectedPod has a sidecar, a redirect step and a readiness gate that is not True yet.
const injectedPod = `
metadata: {annotations: {aftermesh.dev/node: mesh/m/virtualNode/a}}
spec:
  readinessGates: [{conditionType: waiting}, {conditionType: open}]
  volumes: [{name: certs, secret: {secretName: tls}}]
  initContainers:
  - {name: redirect, env: [{name: APPMESH_APP_PORTS, value: "8080,444"}]}
  - name: envoy
    image: stock
    restartPolicy: Always
    env: [{name: A, value: "1"}]
    volumeMounts: [{name: certs, mountPath: /certs, readOnly: true}]
  containers: [{name: app}]
status:
  conditions: [{type: open, status: "True"}]
  containerStatuses: [{name: app, ready: true}]
  initContainerStatuses: [{name: envoy, ready: true}]
`

func TestInjectedPodsAreJudged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expect, fault string }{
		{"proxy: sidecar", ""},
		{"proxy: gateway", `proxy "sidecar"`},
		{"proxy: none", `proxy "sidecar"`},
		{"ready: 2/2", ""},
		{"ready: 1/1", "2/2"},
		{"imageOverridden: true", ""},
		{"imageOverridden: false", "expected another one: false"},
		{"env: {A: '1'}", ""},
		{"env: {A: '2'}", "variable A"},
		{"env: {B: ''}", "variable B"},
		{"mounts: [{path: /certs/, secret: tls, volume: certs, readOnly: true}]", ""},
		{"mounts: [{path: /certs, secret: other}]", "secret other"},
		{"mounts: [{path: /certs, readOnly: false}]", "read-only"},
		{"mounts: [{path: /certs, hostPath: /x}]", "host's /x"},
		{"mounts: [{path: /other}]", "nothing at /other"},
		{"capturedPorts: [444, 8080]", ""},
		{"capturedPorts: [444]", "captured ports"},
		{"readinessGate: open", ""},
		{"readinessGate: waiting", "waiting is not True"},
		{"readinessGate: absent", ""},
	} {
		t.Run(c.expect, func(t *testing.T) {
			t.Parallel()
			var p corev1.Pod
			if err := yaml.Unmarshal([]byte(injectedPod), &p); err != nil {
				t.Fatal(err)
			}
			var want injection
			parse(t, c.expect, &want)
			faulty(t, want.judge(p, "manifest"), c.fault)
		})
	}
}

func TestAPodWithoutAProxyHasNothingOfIt(t *testing.T) {
	t.Parallel()
	p := corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}}}
	for expect, fault := range map[string]string{"proxy: none": "", "env: {A: '1'}": "no proxy", "capturedPorts: [1]": "no proxy"} {
		var want injection
		parse(t, expect, &want)
		faulty(t, want.judge(p, ""), fault)
	}
}

func TestServicesOfAConfigurationAreItsNamedHosts(t *testing.T) {
	t.Parallel()
	got, err := services([]byte(`{"configs": [{"bootstrap": {}}, {"dynamic_route_configs": [
		{"route_config": {"virtual_hosts": [{"name": "b.n", "domains": ["b.n", "b.n:80"]}, {"name": "rest", "domains": ["*"]}]}},
		{"route_config": {"virtual_hosts": [{"name": "a.n", "domains": ["a.n"]}, {"name": "b.n", "domains": ["b.n"]}]}}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"a.n", "b.n"}, got); d != "" {
		t.Error(d)
	}
	if _, err := services([]byte("no JSON")); err == nil {
		t.Error("a dump that is no JSON is taken")
	}
}
