package manifests

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	argoworkflows "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func text(t *testing.T, task *unstructured.Unstructured, fields ...string) string {
	t.Helper()
	value, _, err := unstructured.NestedString(task.Object, fields...)
	must(t, err)
	return value
}

// A request is text, whatever stands in it: it cannot add a field to the Task.
func TestAWorkflowsRequestStaysText(t *testing.T) {
	for _, request := range []string{
		"Remove the unused flags.",
		"a \"b\" 'c': #d\n---\nspec: {agentRef: another}\n\ttab \\ backslash",
		"{{workflow.name}} {{=1+1}} ${HOME} $(id)",
	} {
		task, err := ExampleWorkflowTask("change", request)
		must(t, err)
		if got := text(t, task, "spec", "description"); got != request {
			t.Errorf("%q became %q", request, got)
		}
		spec := task.Object["spec"].(map[string]any)
		if len(spec) != 3 {
			t.Errorf("%q changed the spec: %v", request, spec)
		}
	}
	task, err := ExampleWorkflowTask("review", "r")
	must(t, err)
	if task.GetGenerateName() != "change-and-review-x7k2p-review-" {
		t.Errorf("the name is %s", task.GetGenerateName())
	}
}

// Each step gives what its template asks for, and the roles allow what the steps do.
func TestTheWorkflowIsWhole(t *testing.T) {
	const file = "examples/argo-workflows/change-and-review.yaml"
	workflow, err := in[*argoworkflows.WorkflowTemplate](file)
	must(t, err)
	all, task := workflow.GetTemplateByName("all"), workflow.GetTemplateByName("task")
	if workflow.Spec.Entrypoint != all.Name {
		t.Errorf("the entrypoint is %s", workflow.Spec.Entrypoint)
	}
	for _, group := range all.Steps {
		for _, step := range group.Steps {
			for _, wanted := range task.Inputs.Parameters {
				if step.Template != task.Name || step.Arguments.GetParameterByName(wanted.Name) == nil {
					t.Errorf("step %s of template %s does not say %s", step.Name, step.Template, wanted.Name)
				}
			}
		}
	}
	sameAccount(t, file, workflow.Spec.ServiceAccountName)
}

func TestTheCronJobIsWhole(t *testing.T) {
	const file = "examples/cronjob/nightly.yaml"
	job, err := in[*batch.CronJob](file)
	must(t, err)
	tasks, err := in[*core.ConfigMap](file)
	must(t, err)
	pod := job.Spec.JobTemplate.Spec.Template.Spec
	sameAccount(t, file, pod.ServiceAccountName)
	if pod.Volumes[0].ConfigMap.Name != tasks.Name || tasks.Data["task.yaml"] == "" {
		t.Errorf("the Pod reads ConfigMap %s", pod.Volumes[0].ConfigMap.Name)
	}
	// at most once, as the comment says
	if *job.Spec.JobTemplate.Spec.BackoffLimit != 0 || pod.RestartPolicy != core.RestartPolicyNever {
		t.Error("a Task could be made twice")
	}
	task, err := CronJobTask()
	must(t, err)
	if task.GetName() != "" || task.GetGenerateName() == "" {
		t.Error("the second night's Task would have the first one's name")
	}
}

func sameAccount(t *testing.T, file, account string) {
	t.Helper()
	binding, err := in[*rbac.RoleBinding](file)
	must(t, err)
	if binding.Subjects[0].Name != account {
		t.Errorf("%s: the rules are for %s, and it runs as %s", file, binding.Subjects[0].Name, account)
	}
}

// One Task for each entry, with the release's name in front; a repository's name is only its own Task's.
func TestTheBatchHasATaskForEachRepository(t *testing.T) {
	rendered, err := exec.Command(tool(t, "helm"), "template", "may", filepath.Join(Repository(), "examples/helm-batch")).Output()
	must(t, err)
	var seen []string
	for _, task := range strict(t, "examples/helm-batch", rendered) {
		contexts := task.Object["spec"].(map[string]any)["contexts"].([]any)
		git := contexts[0].(map[string]any)["git"].(map[string]any)
		seen = append(seen, task.GetName()+" "+git["repository"].(string)+" "+text(t, task, "spec", "description"))
	}
	want := []string{}
	for _, name := range []string{"service-a", "service-b", "service-c"} {
		want = append(want, "may-update-"+name+" https://github.com/example/"+name+".git Update the dependencies of "+
			name+" to their latest versions, run the tests, and open a pull request.\n")
	}
	if !slices.Equal(seen, want) {
		t.Errorf("%q", seen)
	}
}
