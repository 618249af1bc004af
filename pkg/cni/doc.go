// Package cni redirects the traffic of pods from outside of them, for clusters where pods may not hold NET_ADMIN.
//
//	container runtime --CNI--> Plugin     last in the chain of a node's network: reads the pod, programs its network namespace
//	DaemonSet --> Installer               keeps the plugin's program, credential and place in the chain on a node
//
// The plugin does what the init container does (package redirect), by the annotations that the injector writes in CNI form (see
// inject.RedirectionOf). Pods without them pass unchanged. It fails the sandbox rather than let a pod start without redirection,
// which would be outside the mesh unseen.
//
// Start with Plugin.add in plugin.go and Installer.pass in install.go. The rules of the protocol are those of the Container Network
// Interface specification, versions 0.3.0 to 1.1.0.
package cni
