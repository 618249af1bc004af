package inject

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
)

const (
	// proxyUID is the user of Envoy; its traffic is not redirected. Source: App Mesh.
	proxyUID = 1337
	// pullSecret is the one that App Mesh's flag enable-ecr-secret refers to.
	pullSecret = "appmesh-ecr-secret"
	// statsPort is the name of Envoy's admin port.
	statsPort = "stats"
	// defaultGracePeriod is Kubernetes' terminationGracePeriodSeconds.
	defaultGracePeriod = 30
)

// sidecar writes the proxy of a VirtualNode. Each step is left out on its own when the pod already has its result.
//
//  1. redirection: a step for later, or CNI annotations
//  2. envoy with its volumes and the annotations that describe it
//  3. X-Ray's daemon
//  4. the redirect step behind them, the order of the init containers, the proxy's group and the pull secret
func (w *work) sidecar() error {
	before := len(w.pod.Spec.InitContainers)
	step, err := w.redirection()
	if err != nil {
		return err
	}
	switch {
	case !w.has(envoyContainer):
		if err := w.addEnvoy(step); err != nil {
			return err
		}
	case !w.marked():
		w.report.Node, w.report.Reason = "", fmt.Sprintf("redirected for %s, but not given a proxy", w.target)
		w.report.warn("the pod brings its own container %s, which is left as it is; its traffic is redirected to ports %d and %d all the same",
			envoyContainer, inboundPort, outboundPort)
	default:
		w.warnAboutLate()
	}
	if err := w.addXRay(); err != nil {
		return err
	}
	if step != nil {
		w.pod.Spec.InitContainers = append(w.pod.Spec.InitContainers, *step)
	}
	if w.request.initFirst {
		all := w.pod.Spec.InitContainers
		w.pod.Spec.InitContainers = slices.Concat(all[before:], all[:before])
	}
	w.warnAboutCutOff(before)
	w.podWide()
	return nil
}

// warnAboutCutOff names init containers whose traffic a CNI plugin redirects to a proxy that starts after them. before says how many
// init containers are the pod's own.
func (w *work) warnAboutCutOff(before int) {
	if !w.request.cni || w.request.initFirst {
		return
	}
	var names []string
	for _, c := range w.pod.Spec.InitContainers[:before] {
		if c.Name == envoyContainer || c.Name == helperContainer {
			break // a later injection of the same pod: what follows is ours, or starts behind it
		}
		names = append(names, c.Name)
	}
	if len(names) == 0 {
		return
	}
	remedy := "remove annotation " + annotationInitFirst
	if !w.request.native {
		remedy = "let the proxy be a native sidecar"
	}
	w.report.warn("the CNI plugin redirects the traffic of init containers %s before the proxy runs: they reach nothing but ports and addresses that are left alone; %s",
		strings.Join(names, ", "), remedy)
}

// addEnvoy adds the proxy; the application waits for it by the redirect step if that is a new one.
func (w *work) addEnvoy(step *corev1.Container) error {
	c := w.config
	w.warnAboutUID()
	limits, err := c.Resources.override(w.request.resources).requirements()
	if err != nil {
		return deny("%v", err)
	}
	t, err := tune(w.pod, w.target, c, w.request, w.request.env, limits.Limits, &w.report)
	if err != nil {
		return err
	}
	if t.settings.Forwards, err = w.rewriteProbes(); err != nil {
		return err
	}
	args, helper, err := t.args()
	if err != nil {
		return err
	}
	rate, err := w.xrayRate(w.request.env)
	if err != nil {
		return err
	}
	env := merge(w.request.env, managedVariables(w.target, c, w.request, rate), &w.report)
	if len(t.settings.Forwards) > 0 {
		env.field("AFTERMESH_POD_IP", "status.podIP")
	}
	envoy := corev1.Container{
		Name: envoyContainer, Image: c.SidecarImage, Command: []string{envoyBinary}, Args: args,
		Env:             env.sorted(),
		Ports:           []corev1.ContainerPort{{Name: statsPort, ContainerPort: int32(c.AdminPort), Protocol: corev1.ProtocolTCP}},
		Resources:       limits,
		SecurityContext: restricted(proxyUID),
		ReadinessProbe:  c.readinessProbe(),
		Lifecycle:       w.lifecycle(),
	}
	if envoy.VolumeMounts, err = w.sidecarVolumes(); err != nil {
		return err
	}
	switch {
	case !w.request.native && w.request.hold:
		helper = append(helper, "--install", waitProgram)
		envoy.Lifecycle = withPostStart(envoy.Lifecycle, w.awaitProxy())
		w.pod.Spec.Containers = slices.Insert(w.pod.Spec.Containers, 0, envoy)
	case !w.request.native:
		w.pod.Spec.Containers = append(w.pod.Spec.Containers, envoy)
	}
	if err := w.addHelper(&envoy, helper); err != nil {
		return err
	}
	if w.request.native {
		envoy.RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
		switch {
		case w.request.hold && step != nil:
			w.holdFor(step)
		case w.request.hold:
			envoy.StartupProbe = c.startupProbe()
		}
		w.pod.Spec.InitContainers = append(w.pod.Spec.InitContainers, envoy)
	}
	return w.mark(w.request.env, env, &envoy, helper)
}

// withPostStart adds a hook to those that a container has.
func withPostStart(l *corev1.Lifecycle, hook *corev1.LifecycleHandler) *corev1.Lifecycle {
	return &corev1.Lifecycle{PostStart: hook, PreStop: ptr.Deref(l, corev1.Lifecycle{}).PreStop}
}

// restricted is a security context that passes the Pod Security Standard "restricted".
func restricted(uid int64) *corev1.SecurityContext {
	return &corev1.SecurityContext{
		RunAsUser: ptr.To(uid), RunAsGroup: ptr.To(uid), RunAsNonRoot: ptr.To(true),
		AllowPrivilegeEscalation: ptr.To(false), ReadOnlyRootFilesystem: ptr.To(true),
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// lifecycle lets Envoy serve on while endpoints forget the pod. Pods that end by themselves must not wait for it: kubelet
// runs the hook of a sidecar also when its pod has completed.
func (w *work) lifecycle() *corev1.Lifecycle {
	policy := w.pod.Spec.RestartPolicy
	if w.request.native && policy != "" && policy != corev1.RestartPolicyAlways {
		return nil
	}
	return w.preStop()
}

// preStop is shorter than asked for where the pod's grace period is: Kubernetes refuses a pod whose hook takes as long.
func (w *work) preStop() *corev1.Lifecycle {
	delay := int64(w.config.PreStopDelay / time.Second)
	grace := ptr.Deref(w.pod.Spec.TerminationGracePeriodSeconds, defaultGracePeriod)
	if delay > 0 && delay >= grace {
		w.report.warn("terminationGracePeriodSeconds is %d, so the proxy serves on for only %d of %d seconds after the stop signal", grace, max(grace-1, 0), delay)
		delay = grace - 1
	}
	if delay <= 0 {
		return nil
	}
	return &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: delay}}}
}

// warnAboutUID names containers that run as the proxy's user, whose outgoing traffic is therefore not redirected.
func (w *work) warnAboutUID() {
	for _, c := range w.pod.Spec.Containers {
		uid := (*int64)(nil)
		if s := w.pod.Spec.SecurityContext; s != nil {
			uid = s.RunAsUser
		}
		if s := c.SecurityContext; s != nil && s.RunAsUser != nil {
			uid = s.RunAsUser
		}
		if uid != nil && *uid == proxyUID {
			w.report.warn("container %s runs as user %d, the proxy's: its outgoing traffic bypasses the mesh", c.Name, proxyUID)
		}
	}
}

func (w *work) xrayRate(user map[string]string) (string, error) {
	if w.config.Tracing.Kind != bootstrap.XRay {
		return "", nil
	}
	return xrayRate(w.config, user)
}

func (w *work) addXRay() error {
	if w.config.Tracing.Kind != bootstrap.XRay || w.has(xrayContainer) {
		return nil
	}
	daemon, err := xrayDaemon(w.config, w.request)
	if err != nil {
		return err
	}
	if w.request.native {
		daemon.RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
		w.pod.Spec.InitContainers = append(w.pod.Spec.InitContainers, daemon)
	} else {
		w.pod.Spec.Containers = append(w.pod.Spec.Containers, daemon)
	}
	return nil
}

// podWide sets what belongs to the whole pod.
func (w *work) podWide() {
	spec := &w.pod.Spec
	if w.config.FSGroup && (spec.SecurityContext == nil || spec.SecurityContext.FSGroup == nil) {
		if spec.SecurityContext == nil {
			spec.SecurityContext = &corev1.PodSecurityContext{}
		}
		spec.SecurityContext.FSGroup = ptr.To[int64](proxyUID)
	}
	if w.config.PullSecret {
		for _, secret := range spec.ImagePullSecrets {
			if secret.Name == pullSecret {
				return
			}
		}
		spec.ImagePullSecrets = append(spec.ImagePullSecrets, corev1.LocalObjectReference{Name: pullSecret})
	}
}
