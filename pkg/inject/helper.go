package inject

import (
	corev1 "k8s.io/api/core/v1"
)

// helperContainer prepares what the proxy needs on the shared volume before it starts: a bootstrap merged from files, or the
// program by which the application waits. Most pods have none.
const helperContainer = "envoy-bootstrap"

const (
	// mergedBootstrap is the file that the helper writes and Envoy reads.
	mergedBootstrap = runPath + "/bootstrap.json"
	// waitProgram is our own program, copied to where Envoy's container can run it.
	waitProgram = runPath + "/aftermesh"
)

// addHelper adds the helper with the variables and mounts of the proxy, which say where the files are.
func (w *work) addHelper(envoy *corev1.Container, args []string) error {
	if len(args) == 0 || w.has(helperContainer) {
		return nil
	}
	resources, err := w.config.Resources.requirements()
	if err != nil {
		return deny("%v", err)
	}
	w.pod.Spec.InitContainers = append(w.pod.Spec.InitContainers, corev1.Container{
		Name: helperContainer, Image: w.config.InitImage, Command: []string{"/aftermesh", "bootstrap"}, Args: args,
		Env: envoy.Env, VolumeMounts: envoy.VolumeMounts, Resources: resources,
		SecurityContext: restricted(proxyUID),
		// A file that cannot be used is named in the pod's status.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	})
	return nil
}

// awaitProxy is the hook that keeps kubelet from starting the next container before Envoy, an ordinary container and the first,
// has its configuration. If that takes too long kubelet starts Envoy again.
func (w *work) awaitProxy() *corev1.LifecycleHandler {
	return &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{
		waitProgram, "wait-ready", "--url", w.config.readyURL(), "--timeout", w.config.PostStartTimeout.String(),
	}}}
}
