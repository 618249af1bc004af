package inject

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
)

// ownVariables begin the names of the variables that the bootstrap refers to.
const ownVariables = "AFTERMESH_"

// xrayRateVariable is X-Ray's sampling rate, of which a pod may have its own.
const xrayRateVariable = "XRAY_SAMPLING_RATE"

// variables are environment variables by name.
type variables map[string]corev1.EnvVar

func (v variables) set(name, value string) { v[name] = corev1.EnvVar{Name: name, Value: value} }

func (v variables) setIf(name, value string) {
	if value != "" {
		v.set(name, value)
	}
}

func (v variables) flag(name string, on bool) {
	v.set(name, map[bool]string{true: "1", false: "0"}[on])
}

// field makes a variable follow a field of the pod.
func (v variables) field(name, path string) {
	v[name] = corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path},
	}}
}

// label makes a variable follow a label of the pod, which Kubernetes sets when it binds the pod to a node; a value that the pod was
// made with stays. Without the label the variable is empty.
func (v variables) label(name, key, own string) {
	if own != "" {
		v.set(name, own)
		return
	}
	v.field(name, "metadata.labels['"+key+"']")
}

// address is a text, or the node's address when the setting asks for that.
func (v variables) address(name, value string) {
	if value == hostIPReference {
		v.field(name, "status.hostIP")
		return
	}
	v.set(name, value)
}

// sorted lists the variables by name.
func (v variables) sorted() []corev1.EnvVar {
	list := make([]corev1.EnvVar, 0, len(v))
	for _, variable := range v {
		list = append(list, variable)
	}
	slices.SortFunc(list, func(a, b corev1.EnvVar) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// managedVariables are those that App Mesh's controller set on Envoy, with its meanings, although stock Envoy reads none:
// users' own tooling does. Those that begin with ownVariables feed the bootstrap.
func managedVariables(t Target, c Config, r request, xrayRate string) variables {
	v := variables{}
	id := t.nodeID(c.AccountID)
	v.set("APPMESH_RESOURCE_ARN", id)
	v.set("APPMESH_VIRTUAL_NODE_NAME", id)
	v.setIf("AWS_REGION", c.Region)
	v.set("ENVOY_ADMIN_ACCESS_ENABLE_IPV6", strconv.FormatBool(c.AdminIPv6))
	v.flag("APPMESH_DUALSTACK_ENDPOINT", c.DualStackEndpoint)
	v.flag("APPMESH_FIPS_ENDPOINT", c.FIPSEndpoint)
	v.flag("APPMESH_PREVIEW", r.preview)
	v.set("ENVOY_LOG_LEVEL", c.LogLevel)
	if r.sds {
		v.set("APPMESH_SDS_SOCKET_PATH", c.SDSPath)
	}
	v.set("ENVOY_ADMIN_ACCESS_PORT", fmt.Sprint(c.AdminPort))
	v.setIf("ENVOY_ADMIN_ACCESS_LOG_FILE", c.AdminLogFile)
	v.setIf("APPMESH_PLATFORM_K8S_VERSION", c.KubernetesVersion)
	v.setIf("APPMESH_PLATFORM_APP_MESH_CONTROLLER_VERSION", c.Version)
	v.set("APPNET_AGENT_ADMIN_MODE", "uds")
	v.set("APPNET_AGENT_ADMIN_UDS_PATH", tempPath+"/agent.sock")
	v.field("APPMESH_PLATFORM_K8S_POD_UID", "metadata.uid")
	v.telemetry(c, xrayRate)

	v.field("AFTERMESH_POD_NAME", "metadata.name")
	v.field("AFTERMESH_POD_NAMESPACE", "metadata.namespace")
	v.field("AFTERMESH_POD_UID", "metadata.uid")
	v.field("AFTERMESH_POD_IPS", "status.podIPs")
	v.field("AFTERMESH_NODE_NAME", "spec.nodeName")
	v.field("AFTERMESH_HOST_IP", "status.hostIP")
	v.label("AFTERMESH_REGION", corev1.LabelTopologyRegion, r.region)
	v.label("AFTERMESH_ZONE", corev1.LabelTopologyZone, r.zone)
	return v
}

func (v variables) telemetry(c Config, xrayRate string) {
	switch t := c.Tracing; t.Kind {
	case bootstrap.XRay:
		v.set("ENABLE_ENVOY_XRAY_TRACING", "1")
		v.set("XRAY_DAEMON_PORT", fmt.Sprint(t.Port))
		v.set(xrayRateVariable, xrayRate)
	case bootstrap.Datadog:
		v.set("ENABLE_ENVOY_DATADOG_TRACING", "1")
		v.set("DATADOG_TRACER_PORT", fmt.Sprint(t.Port))
		v.address("DATADOG_TRACER_ADDRESS", t.Address)
	case bootstrap.Jaeger:
		v.set("ENABLE_ENVOY_JAEGER_TRACING", "1")
		v.set("JAEGER_TRACER_PORT", fmt.Sprint(t.Port))
		v.address("JAEGER_TRACER_ADDRESS", t.Address)
	}
	if c.StatsTags {
		v.set("ENABLE_ENVOY_STATS_TAGS", "1")
	}
	if s := c.Statsd; s.Enabled {
		v.set("ENABLE_ENVOY_DOG_STATSD", "1")
		v.set("STATSD_PORT", fmt.Sprint(s.Port))
		v.address("STATSD_ADDRESS", s.Address)
		v.setIf("STATSD_SOCKET_PATH", s.SocketPath)
	}
}

// xrayRate is the sampling rate of a pod: its own variable if it has one, else the flag. App Mesh rounds to two places and
// refuses what lies outside 0 to 1.
func xrayRate(c Config, user map[string]string) (string, error) {
	text := c.Tracing.XRay.SamplingRate
	if own, ok := user[xrayRateVariable]; ok {
		text = own
	}
	rate, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || rate < 0 || rate > 1 || math.IsNaN(rate) {
		return "", deny("%s %q must be a number between 0 and 1", xrayRateVariable, text)
	}
	return strconv.FormatFloat(math.Round(rate*100)/100, 'f', -1, 64), nil
}

// merge puts the user's variables under the managed ones and says which of the user's have no effect.
func merge(user map[string]string, managed variables, report *Report) variables {
	all := variables{}
	for name, value := range user {
		all.set(name, value)
	}
	for _, name := range slices.Sorted(maps.Keys(managed)) {
		// The sampling rate is the one variable whose value comes from the user if there is one.
		if own, ok := user[name]; ok && own != managed[name].Value && name != xrayRateVariable {
			report.warn("the variable %s of annotation %s or %s has no effect: the operator sets it", name, annotationSidecarEnv, annotationSidecarEnvJSON)
		}
		all[name] = managed[name]
	}
	return all
}

// mergeInto sets variables in a container's own list: an entry of the same name is replaced where it stands (value and
// source), others are appended by name.
func mergeInto(list []corev1.EnvVar, add variables) []corev1.EnvVar {
	rest := variables{}
	for name, variable := range add {
		if i := slices.IndexFunc(list, func(e corev1.EnvVar) bool { return e.Name == name }); i >= 0 {
			list[i] = variable
		} else {
			rest[name] = variable
		}
	}
	return append(list, rest.sorted()...)
}
