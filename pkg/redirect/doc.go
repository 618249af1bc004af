// Package redirect sends a pod's TCP traffic to its proxy: it turns the settings that the injector hands to the init
// container (environment APPMESH_*) into one nftables table in the pod's network namespace.
//
//	environment --FromEnv--> Config --Apply--> table inet aftermesh
//	                            `--Rules----> the same table as nft text, for people
//
// Invariants:
//   - Everything lives in the table "inet aftermesh"; no other table is read or changed.
//   - The table is replaced as a whole in one transaction, so applying twice equals applying once and a failure leaves
//     what was there before.
//   - Only TCP is touched. Traffic of the proxy's user, of the pod to itself and on loopback never is.
//   - TCP port 53 joins port 22 in the list of destination ports that are always left alone: DNS over TCP must work like
//     DNS over UDP.
//
// Start with Config, then Rules (what), then Apply (how). The package imports nothing of ours.
package redirect
