// Package bootstrap writes the configuration that stock Envoy starts with. Everything else Envoy fetches over delta ADS.
//
//	Settings --New--> bootstrapv3.Bootstrap --Argument--> one line of JSON for "--config-yaml"
//
// What it says:
//   - one ADS stream over TLS to the control plane, whose root is inline and used for nothing else;
//   - the stream's bearer token is added by Envoy itself (filter credential_injector) from a file that kubelet rotates.
//     The file is named by a small SDS file beside it, because only a secret that comes through SDS is read again when
//     its folder changes;
//   - listeners and clusters are awaited without limit, every secret five seconds at most, so that one missing
//     certificate cannot keep a pod from starting;
//   - the admin interface is on a pipe; a static listener forwards to it everything for callers on loopback and only
//     /ready and /stats for others;
//   - probes and scrapes that a listener with STRICT TLS would refuse have static listeners, which forward nothing else;
//   - statistics, tracing and the outlier log as App Mesh's environment variables asked for them.
//
// Text that Kubernetes is to fill in per pod is written $(NAME), see PodName and its neighbours; Argument keeps those
// and escapes every other dollar sign. The package is pure: no client, clock or file. Start with Settings and New.
package bootstrap
