package inject

import (
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
)

// portSysctl lets unprivileged users of the pod open low ports; Kubernetes counts it among the safe ones.
const (
	portSysctl       = "net.ipv4.ip_unprivileged_port_start"
	privilegedBefore = 1024
)

// gateway completes the container "envoy" that a VirtualGateway's pod brings. Kept are its resources, ports, command and
// whatever else the user wrote.
func (w *work) gateway() error {
	containers := w.pod.Spec.Containers
	i := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == envoyContainer })
	if i < 0 {
		w.report.Outcome, w.report.Node = Untouched, ""
		w.report.Reason = fmt.Sprintf("%s selects the pod, but the pod has no container named %s", w.target, envoyContainer)
		w.report.warn("%s: nothing serves the gateway", w.report.Reason)
		return nil
	}
	envoy := &containers[i]
	user := plainVariables(envoy.Env, w.request.env)
	t, err := tune(w.pod, w.target, w.config, w.request, user, envoy.Resources.Limits, &w.report)
	if err != nil {
		return err
	}
	if !w.request.keepImage {
		if pulledAlways(envoy.Image) {
			envoy.ImagePullPolicy = "" // Kubernetes derived it from the image that goes; it derives it again
		}
		envoy.Image = w.config.SidecarImage
	}
	rate, err := w.xrayRate(user)
	if err != nil {
		return err
	}
	managed := merge(w.request.env, managedVariables(w.target, w.config, w.request, rate), &w.report)
	ownCommand, helper, err := w.gatewayCommand(envoy, t, managed)
	if err != nil {
		return err
	}
	envoy.Env = mergeInto(envoy.Env, managed)
	if err := w.gatewayVolumes(envoy, ownCommand); err != nil {
		return err
	}
	w.gatewayProcess(envoy, t.settings.Admin)
	if err := w.addHelper(envoy, helper); err != nil {
		return err
	}
	if err := w.mark(user, managed, envoy, helper); err != nil {
		return err
	}
	return w.addXRay()
}

// pulledAlways is true for images that Kubernetes pulls at every start unless told otherwise: those without a tag or digest and
// those tagged latest.
func pulledAlways(image string) bool {
	name := image[strings.LastIndexByte(image, '/')+1:]
	_, tag, tagged := strings.Cut(name, ":")
	return !strings.Contains(name, "@") && (!tagged || tag == "latest")
}

// plainVariables are the texts of a container's own variables and of the annotations, which win.
func plainVariables(own []corev1.EnvVar, annotated map[string]string) map[string]string {
	all := map[string]string{}
	for _, variable := range own {
		if variable.ValueFrom == nil {
			all[variable.Name] = variable.Value
		}
	}
	for name, value := range annotated {
		all[name] = value
	}
	return all
}

// gatewayCommand makes the container start Envoy with its bootstrap. A container with a command of its own gets the
// bootstrap as a file instead, whose place is in a variable; it reports whether that is so.
func (w *work) gatewayCommand(envoy *corev1.Container, t tuning, managed variables) (ownCommand bool, helper []string, err error) {
	ours := oursToStart(envoy.Args) && w.marked()
	if len(envoy.Command)+len(envoy.Args) > 0 && !ours {
		content, err := t.file()
		if err != nil {
			return true, nil, err
		}
		if t.files {
			w.report.warn("variables that name files of the bootstrap (%s, …) have no effect in a container with a command of its own", bootstrap.ConfigFile)
		}
		place := credentialPath + "/" + bootstrapFile
		managed.set("AFTERMESH_BOOTSTRAP", place)
		w.annotate(map[string]string{annotationBootstrap: content})
		w.report.warn("container %s has a command of its own, which must start Envoy with the bootstrap in %s", envoyContainer, place)
		return true, nil, nil
	}
	if !w.request.keepImage {
		envoy.Command = []string{envoyBinary}
	}
	// An image of the user's own keeps its entry point: those of stock Envoy pass arguments on.
	envoy.Args, helper, err = t.args()
	return false, helper, err
}

// gatewayVolumes adds the mounts that are not there yet.
func (w *work) gatewayVolumes(envoy *corev1.Container, withBootstrap bool) error {
	mounts, err := w.ownVolumes(withBootstrap)
	if err != nil {
		return err
	}
	asked, err := w.requestedMounts()
	if err != nil {
		return err
	}
	for _, m := range append(mounts, asked...) {
		if !slices.ContainsFunc(envoy.VolumeMounts, func(e corev1.VolumeMount) bool {
			return path.Clean(e.MountPath) == path.Clean(m.MountPath)
		}) {
			envoy.VolumeMounts = append(envoy.VolumeMounts, m)
		}
	}
	return nil
}

// gatewayProcess sets how kubelet runs, watches and stops the gateway, where the user left that open.
func (w *work) gatewayProcess(envoy *corev1.Container, admin bootstrap.Admin) {
	if envoy.ReadinessProbe == nil {
		envoy.ReadinessProbe = w.config.readinessProbe()
	}
	w.replaceShellProbe(envoy, admin)
	w.replaceInfoProbes(envoy, admin)
	if envoy.Lifecycle == nil || envoy.Lifecycle.PreStop == nil {
		if hook := w.preStop(); hook != nil {
			envoy.Lifecycle = &corev1.Lifecycle{PostStart: ptr.Deref(envoy.Lifecycle, corev1.Lifecycle{}).PostStart, PreStop: hook.PreStop}
		}
	}
	podUser := w.pod.Spec.SecurityContext != nil && w.pod.Spec.SecurityContext.RunAsUser != nil
	if !podUser && (envoy.SecurityContext == nil || envoy.SecurityContext.RunAsUser == nil) {
		if envoy.SecurityContext == nil {
			envoy.SecurityContext = &corev1.SecurityContext{}
		}
		envoy.SecurityContext.RunAsUser = ptr.To[int64](proxyUID)
	}
	w.allowLowPorts()
}

// livePath of the admin port answers 200 as long as Envoy runs, also while it drains, when /ready does not.
const livePath = "/stats?filter=server.live"

// replaceShellProbe turns a liveness probe that runs curl, which App Mesh's image had and stock Envoy has not, into an HTTP
// one. As that fails until the first configuration is there, a startup probe keeps kubelet from judging before.
func (w *work) replaceShellProbe(envoy *corev1.Container, admin bootstrap.Admin) {
	probe := envoy.LivenessProbe
	if probe == nil || probe.Exec == nil || w.request.keepImage || !strings.Contains(strings.Join(probe.Exec.Command, " "), "curl") {
		return
	}
	probe.ProbeHandler = w.config.readyProbe().ProbeHandler
	if !admin.ReadyOnly {
		probe.HTTPGet.Path = livePath
	}
	if envoy.StartupProbe == nil {
		envoy.StartupProbe = w.config.startupProbe()
	}
	w.report.warn("the liveness probe of container %s ran curl, which stock Envoy has not; it asks %s on the admin port instead", envoyContainer, probe.HTTPGet.Path)
}

// replaceInfoProbes leads probes that ask the admin port for /server_info, which shows the whole bootstrap and answers inside the pod only,
// to what tells the same.
func (w *work) replaceInfoProbes(envoy *corev1.Container, admin bootstrap.Admin) {
	if admin.Open && !admin.ReadyOnly {
		return
	}
	for kind, probe := range handlers(envoy) {
		if probe.HTTPGet == nil || portOf(envoy, &probe.ProbeHandler) != admin.Port || probe.HTTPGet.Path != "/server_info" {
			continue
		}
		probe.HTTPGet.Path = "/ready"
		if !admin.ReadyOnly {
			probe.HTTPGet.Path = livePath
		}
		w.report.warn("the %s of container %s asked /server_info, which answers inside the pod only; it asks %s instead", title(kind), envoyContainer, probe.HTTPGet.Path)
	}
}

// allowLowPorts lets a gateway listen below 1024 although it does not run as root.
func (w *work) allowLowPorts() {
	low := false
	for _, l := range w.target.Gateway.Spec.Listeners {
		low = low || l.PortMapping.Port < privilegedBefore
	}
	// The host's own setting is not a pod's to change.
	if !low || w.pod.Spec.HostNetwork {
		return
	}
	if w.pod.Spec.SecurityContext == nil {
		w.pod.Spec.SecurityContext = &corev1.PodSecurityContext{}
	}
	s := w.pod.Spec.SecurityContext
	if !slices.ContainsFunc(s.Sysctls, func(c corev1.Sysctl) bool { return c.Name == portSysctl }) {
		s.Sysctls = append(s.Sysctls, corev1.Sysctl{Name: portSysctl, Value: "0"})
	}
}
