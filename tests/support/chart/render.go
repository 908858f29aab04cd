// Renders a Helm chart the way `helm template` does, as far as the charts of this repository go, on nothing but
// Debian's Go libraries. Prints a JSON array of {"source": FILE, "object": OBJECT}; NOTES.txt comes as a string.
//
//	render [-f VALUES]... [-dependency CHART]... [-kube VERSION] CHART
//	render -to-json < YAML
//
// Exit 1 with a message: the values do not fit the schema, or a template failed.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/semver"
	"github.com/Masterminds/sprig"
	"github.com/ghodss/yaml"
	"github.com/xeipuuv/gojsonschema"
)

type object = map[string]interface{}

type chart struct {
	folder       string
	name         string
	meta         object
	defaults     object
	schema       []byte
	templates    map[string]string
	dependencies []*chart
}

type files map[string]string

// Get is what templates call as .Files.Get.
func (f files) Get(name string) string { return f[name] }

type output struct {
	Source string      `json:"source"`
	Object interface{} `json:"object"`
}

type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func main() {
	var values, dependencies list
	flag.Var(&values, "f", "values file; later ones win")
	flag.Var(&dependencies, "dependency", "folder of a chart that CHART depends on")
	kube := flag.String("kube", "1.31.0", "version of the cluster")
	toJSON := flag.Bool("to-json", false, "only turn YAML on stdin into JSON")
	flag.Parse()
	if err := run(*toJSON, flag.Arg(0), values, dependencies, *kube); err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1)
	}
}

func run(toJSON bool, folder string, valueFiles, dependencies []string, kube string) error {
	if toJSON {
		return printJSON()
	}
	root, err := loadChart(folder)
	if err != nil {
		return err
	}
	for _, d := range dependencies {
		dep, err := loadChart(d)
		if err != nil {
			return err
		}
		root.dependencies = append(root.dependencies, dep)
	}
	given := object{}
	for _, f := range valueFiles {
		layer, err := readObject(f)
		if err != nil {
			return err
		}
		given = overlay(given, layer)
	}
	all, err := root.render(given, kube)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(all)
}

func printJSON() error {
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	out, err := yaml.YAMLToJSONStrict(in)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(out)
	return err
}

func readObject(path string) (object, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	strict, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	out := object{}
	if string(strict) == "null" {
		return out, nil
	}
	if err := json.Unmarshal(strict, &out); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

func loadChart(folder string) (*chart, error) {
	c := &chart{folder: folder, templates: map[string]string{}}
	var err error
	if c.meta, err = readObject(filepath.Join(folder, "Chart.yaml")); err != nil {
		return nil, err
	}
	c.name, _ = c.meta["name"].(string)
	c.defaults, err = readObject(filepath.Join(folder, "values.yaml"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	c.schema, _ = os.ReadFile(filepath.Join(folder, "values.schema.json"))
	base := filepath.Join(folder, "templates")
	return c, filepath.Walk(base, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		rel, _ := filepath.Rel(base, path)
		c.templates[c.name+"/templates/"+filepath.ToSlash(rel)] = string(text)
		return err
	})
}

// overlay gives base with over on top; null takes a key away, as Helm has it.
func overlay(base, over object) object {
	out := object{}
	for k, v := range base {
		out[k] = v
	}
	for k, v := range over {
		if v == nil {
			delete(out, k)
			continue
		}
		below, isObject := out[k].(object)
		above, bothObjects := v.(object)
		if isObject && bothObjects {
			v = overlay(below, above)
		}
		out[k] = v
	}
	return out
}

// settle gives the values of c and, under their names, of its dependencies; each is checked against its schema.
func (c *chart) settle(given object) (object, error) {
	values := overlay(c.defaults, given)
	for _, d := range c.dependencies {
		own, _ := values[d.name].(object)
		if own == nil {
			own = object{}
		}
		if g, ok := values["global"]; ok {
			own = overlay(own, object{"global": g})
		}
		settled, err := d.settle(own)
		if err != nil {
			return nil, err
		}
		values[d.name] = settled
	}
	return values, c.check(values)
}

func (c *chart) check(values object) error {
	if c.schema == nil {
		return nil
	}
	result, err := gojsonschema.Validate(gojsonschema.NewBytesLoader(c.schema), gojsonschema.NewGoLoader(values))
	if err != nil {
		return fmt.Errorf("%s: values.schema.json: %w", c.name, err)
	}
	var faults []string
	for _, e := range result.Errors() {
		faults = append(faults, "  "+e.String())
	}
	if len(faults) > 0 {
		sort.Strings(faults)
		return fmt.Errorf("%s: the values do not fit the schema:\n%s", c.name, strings.Join(faults, "\n"))
	}
	return nil
}

func (c *chart) render(given object, kube string) ([]output, error) {
	want, _ := c.meta["kubeVersion"].(string)
	if err := checkKube(want, kube); err != nil {
		return nil, err
	}
	values, err := c.settle(given)
	if err != nil {
		return nil, err
	}
	set := template.New("chart").Option("missingkey=zero")
	set.Funcs(functions(set))
	contexts := map[string]object{}
	if _, err := c.parse(set, values, kube, contexts); err != nil {
		return nil, err
	}
	return c.execute(set, contexts)
}

func checkKube(want, kube string) error {
	if want == "" {
		return nil
	}
	constraint, err := semver.NewConstraint(want)
	if err != nil {
		return fmt.Errorf("kubeVersion: %w", err)
	}
	version, err := semver.NewVersion(kube)
	if err != nil {
		return err
	}
	if !constraint.Check(version) {
		return fmt.Errorf("chart requires kubeVersion: %s which is incompatible with Kubernetes v%s", want, kube)
	}
	return nil
}

// parse adds the templates of c and its dependencies to set, and returns the context c's templates run in.
func (c *chart) parse(set *template.Template, values object, kube string, contexts map[string]object) (object, error) {
	subcharts := object{}
	for _, d := range c.dependencies {
		own, _ := values[d.name].(object)
		context, err := d.parse(set, own, kube, contexts)
		if err != nil {
			return nil, err
		}
		subcharts[d.name] = context
	}
	context := object{
		"Values": values, "Subcharts": subcharts, "Files": files{},
		"Chart": object{"Name": c.name, "Version": c.meta["version"], "AppVersion": c.meta["appVersion"]},
		"Release": object{"Name": "demo", "Namespace": "orleans", "Service": "Helm", "Revision": 1,
			"IsInstall": true, "IsUpgrade": false},
		"Capabilities": object{"KubeVersion": object{"Version": "v" + kube, "GitVersion": "v" + kube}},
	}
	for name, text := range c.templates {
		if _, err := set.New(name).Parse(text); err != nil {
			return nil, err
		}
		contexts[name] = context
	}
	return context, nil
}

func (c *chart) execute(set *template.Template, contexts map[string]object) ([]output, error) {
	var names []string
	for name := range contexts {
		if !strings.HasPrefix(filepath.Base(name), "_") {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	var all []output
	for _, name := range names {
		text, err := apply(set, name, contexts[name])
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(name, "/NOTES.txt") {
			if strings.HasPrefix(name, c.name+"/") {
				all = append(all, output{name, text})
			}
			continue
		}
		if all, err = split(all, name, text); err != nil {
			return nil, err
		}
	}
	return all, nil
}

var documentEnd = regexp.MustCompile(`(?m)^---[ \t]*$`)

func split(all []output, name, text string) ([]output, error) {
	for _, document := range documentEnd.Split(text, -1) {
		strict, err := yaml.YAMLToJSONStrict([]byte(document))
		if err != nil {
			return nil, fmt.Errorf("%s: %w in\n%s", name, err, document)
		}
		var value interface{}
		if err := json.Unmarshal(strict, &value); err != nil {
			return nil, err
		}
		if value != nil {
			all = append(all, output{name, value})
		}
	}
	return all, nil
}

func apply(set *template.Template, name string, context interface{}) (string, error) {
	var out bytes.Buffer
	err := set.ExecuteTemplate(&out, name, context)
	return strings.ReplaceAll(out.String(), "<no value>", ""), err
}

// functions are sprig's, without those that read the environment, and the ones Helm adds.
func functions(set *template.Template) template.FuncMap {
	all := sprig.TxtFuncMap()
	delete(all, "env")
	delete(all, "expandenv")
	all["include"] = func(name string, context interface{}) (string, error) {
		return apply(set, name, context)
	}
	all["tpl"] = func(text string, context interface{}) (string, error) {
		copied, err := set.Clone()
		if err != nil {
			return "", err
		}
		if _, err := copied.New("tpl").Parse(text); err != nil {
			return "", err
		}
		return apply(copied, "tpl", context)
	}
	all["required"] = func(message string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, errors.New(message)
		}
		return value, nil
	}
	all["toYaml"] = func(value interface{}) (string, error) {
		text, err := yaml.Marshal(value)
		return strings.TrimSuffix(string(text), "\n"), err
	}
	all["fromYaml"] = func(text string) (object, error) {
		out := object{}
		return out, yaml.Unmarshal([]byte(text), &out)
	}
	all["lookup"] = func(...string) object { return object{} }
	return all
}
