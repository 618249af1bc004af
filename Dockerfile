# The operator's image: one static binary, no shell, not root.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X github.com/aftermesh/aftermesh/pkg/cli.Version=${VERSION}" -o /aftermesh .

FROM scratch
COPY --from=build /aftermesh /aftermesh
USER 65532:65532
ENTRYPOINT ["/aftermesh"]
