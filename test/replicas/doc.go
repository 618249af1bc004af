// Package replicas proves that two replicas of the operator tell one truth: half of the proxies are connected to each, one writes the
// statuses of all, and what a replica that does not answer serves is unknown, never acknowledged.
package replicas
