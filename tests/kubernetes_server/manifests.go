package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

// Strictly: a field that its type does not have, or that is there twice, is an error, as with `kubectl --validate=strict`.
func readManifest(file string) (objects []runtime.Object, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for number := 1; ; number++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", file, number, err)
		}
		object, _, err := decoder.Decode(document, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", file, number, err)
		}
		objects = append(objects, object)
	}
}

func checkManifests(files []string) int {
	status := 0
	for _, file := range files {
		objects, err := readManifest(file)
		if err == nil && len(objects) == 0 {
			err = fmt.Errorf("%s: no objects", file)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
		for _, object := range objects {
			fmt.Println(object.GetObjectKind().GroupVersionKind())
		}
	}
	return status
}
