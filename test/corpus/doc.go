// Package corpus runs cases of real manifests in a real cluster. A case is a folder with manifests, which are applied as they
// are but for images, and an expect.yaml that says, step by step, what must be true. Generic applications replace the images
// (test/echo).
//
// It believes nothing: an unknown key or kind is an error, and a check that cannot be made has failed. It polls instead of
// sleeping, so settleSeconds is the most that a step may take; a check that something does NOT happen must hold for three
// seconds. Counts of requests are raised until chance is out: the tolerance of a share must be five standard deviations.
//
// Start with Runner.Run.
package corpus
