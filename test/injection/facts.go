package injection

import (
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/aftermesh/aftermesh/pkg/inject"
)

// factsOf are what may be compared of a pod, by names such as "init", "status.node", "envoy.image", "envoy.env.ENVOY_LOG_LEVEL",
// "volume.tls" or "bootstrap.node". What a pod does not have is not in the map.
func factsOf(p *corev1.Pod) map[string]string {
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
			maps.Copy(f, containerFacts(c))
		}
		f[kind] = strings.Join(names, ",")
	}
	for _, v := range p.Spec.Volumes {
		f["volume."+v.Name] = volumeFact(v)
	}
	var secrets, gates []string
	for _, s := range p.Spec.ImagePullSecrets {
		secrets = append(secrets, s.Name)
	}
	for _, g := range p.Spec.ReadinessGates {
		gates = append(gates, string(g.ConditionType))
	}
	f["pullSecrets"], f["gates"] = strings.Join(secrets, ","), strings.Join(gates, ",")
	if s := p.Spec.SecurityContext; s != nil {
		if s.FSGroup != nil {
			f["fsGroup"] = fmt.Sprint(*s.FSGroup)
		}
		for _, c := range s.Sysctls {
			f["sysctl."+c.Name] = c.Value
		}
	}
	maps.Copy(f, bootstrapFacts(p))
	return f
}

// volumeFact says what kind a volume is and what it is made of.
func volumeFact(v corev1.Volume) string {
	switch {
	case v.Secret != nil:
		return "secret " + v.Secret.SecretName
	case v.HostPath != nil:
		return "host " + v.HostPath.Path
	case v.Projected != nil:
		for _, s := range v.Projected.Sources {
			if t := s.ServiceAccountToken; t != nil && t.ExpirationSeconds != nil {
				return fmt.Sprintf("token for %s, %d s", t.Audience, *t.ExpirationSeconds)
			}
		}
	}
	return "other"
}

func containerFacts(c corev1.Container) map[string]string {
	f := map[string]string{"image": c.Image, "command": strings.Join(c.Command, " ")}
	for i, arg := range c.Args {
		if strings.HasPrefix(arg, "--") && i+1 < len(c.Args) {
			f[arg] = c.Args[i+1]
		}
	}
	if c.RestartPolicy != nil {
		f["restart"] = string(*c.RestartPolicy)
	}
	for _, e := range c.Env {
		f["env."+e.Name] = e.Value
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
			f["env."+e.Name] = "field " + e.ValueFrom.FieldRef.FieldPath
		}
	}
	for _, p := range c.Ports {
		f["port."+p.Name] = fmt.Sprintf("%d/%s", p.ContainerPort, p.Protocol)
	}
	for kind, list := range map[string]corev1.ResourceList{"request": c.Resources.Requests, "limit": c.Resources.Limits} {
		for name, quantity := range list {
			f[fmt.Sprintf("%s.%s", kind, name)] = quantity.String()
		}
	}
	for _, m := range c.VolumeMounts {
		f["mount."+m.MountPath] = m.Name + map[bool]string{true: " read-only", false: ""}[m.ReadOnly]
	}
	if s := c.SecurityContext; s != nil && s.RunAsUser != nil {
		f["user"] = fmt.Sprint(*s.RunAsUser)
	}
	processFacts(f, c)
	named := map[string]string{}
	for name, value := range f {
		named[c.Name+"."+name] = value
	}
	return named
}

// processFacts are about probes and hooks.
func processFacts(f map[string]string, c corev1.Container) {
	for kind, probe := range map[string]*corev1.Probe{"liveness": c.LivenessProbe, "readiness": c.ReadinessProbe, "startup": c.StartupProbe} {
		if probe == nil {
			continue
		}
		f[kind+".delay"], f[kind+".period"] = fmt.Sprint(probe.InitialDelaySeconds), fmt.Sprint(probe.PeriodSeconds)
		f[kind+".failures"] = fmt.Sprint(probe.FailureThreshold)
		switch {
		case probe.HTTPGet != nil:
			f[kind] = probe.HTTPGet.Port.String() + probe.HTTPGet.Path
		case probe.Exec != nil:
			f[kind] = strings.Join(probe.Exec.Command, " ")
		case probe.TCPSocket != nil:
			f[kind] = probe.TCPSocket.Port.String()
		}
	}
	if c.Lifecycle == nil {
		return
	}
	for kind, hook := range map[string]*corev1.LifecycleHandler{"postStart": c.Lifecycle.PostStart, "preStop": c.Lifecycle.PreStop} {
		switch {
		case hook == nil:
		case hook.Exec != nil:
			f[kind] = strings.Join(hook.Exec.Command, " ")
		case hook.Sleep != nil:
			f[kind] = fmt.Sprintf("sleep %d", hook.Sleep.Seconds)
		}
	}
}
