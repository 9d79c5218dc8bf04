// Prints the Tasks that other people's programs make with the manifests of this repository.
//
//	tasks               the makers, a line each: NAME SERVICEACCOUNT
//	tasks NAME          the Task that one of them makes, as JSON
//	tasks argo-events - the same of the event on stdin; nothing when the Sensor's filters discard it
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"kubeopencode.io/tests/manifests"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tasks:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 2 && arguments[0] == "argo-events" && arguments[1] == "-" {
		event, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		return show(manifests.DogfoodingTask(event))
	}
	for _, maker := range manifests.Makers {
		if len(arguments) == 0 {
			fmt.Println(maker.Name, maker.ServiceAccount)
		} else if arguments[0] == maker.Name {
			return show(maker.Task())
		}
	}
	if len(arguments) > 0 {
		return fmt.Errorf("nobody is called %q; without arguments all are listed", arguments[0])
	}
	return nil
}

func show(task *unstructured.Unstructured, err error) error {
	if err != nil || task == nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(task)
}
