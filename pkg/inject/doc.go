// Package inject decides whether a pod joins a mesh and writes its proxy into it.
//
//	pod, objects of its namespace --Decide--> Decision (inject as what, leave alone, deny; why)
//	pod, Target, Config           --Inject--> pod, Report
//	both in one                     Admit
//
// The webhook (package webhook) and "inject -f" call Admit, so that both say the same words. What a VirtualNode's pod gets:
//   - an init container "proxyinit" that redirects the pod's TCP traffic (package redirect), or annotations for a CNI plugin;
//   - stock Envoy as native sidecar "envoy", started before the application, with its bootstrap (package bootstrap) on
//     the command line;
//   - a volume with the token for the control plane, and one for Envoy's pipe and temporary files;
//   - annotations that say what it was injected as.
//
// A VirtualGateway's pod brings its own container "envoy", which gets image, environment and bootstrap.
//
// Invariants: the package is pure (no client, clock or randomness); the given pod is never modified; injecting twice equals
// injecting once; all injected lists are sorted. A user's mistake is a Denial, never a broken pod.
// Start with Admit in admit.go, then sidecar.go and gateway.go.
package inject
