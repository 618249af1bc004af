// Package netns tries the redirect step on the real kernel: each test makes network namespaces of its own (a pod and a
// peer behind a veth pair), programs the rules in the pod and looks at where real connections arrive.
//
// The tests need root and the programs ip and nft; without root they are skipped. Nothing outside the namespaces that a
// test made is touched, and they are removed at its end. Start with lab_test.go.
package netns
