package docs

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryExportedNameIsDocumented wants, in each package that others can import, a doc
// comment for every exported name and an example for every function and option.
func TestEveryExportedNameIsDocumented(t *testing.T) {
	packages := importable(t)
	if len(packages) < 3 {
		t.Fatalf("found only %q", packages)
	}
	for _, folder := range packages {
		t.Run(folder, func(t *testing.T) {
			pkg := documentation(t, folder)
			if pkg.Doc == "" {
				t.Error("the package has no comment")
			}
			if pkg.Name == "main" {
				return
			}
			wantValues(t, pkg.Consts, pkg.Vars)
			wantFuncs(t, "", pkg.Funcs)
			for _, typ := range pkg.Types {
				wantDoc(t, typ.Name, typ.Doc)
				wantFields(t, typ)
				wantValues(t, typ.Consts, typ.Vars)
				wantFuncs(t, "", typ.Funcs)
				wantFuncs(t, typ.Name+".", typ.Methods)
			}
		})
	}
}

// importable returns the folders of this module's packages that are not internal.
func importable(t *testing.T) (folders []string) {
	t.Helper()
	walk(t, func(name string) {
		folder := filepath.Dir(name)
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return
		}
		for parent := folder; parent != "."; parent = filepath.Dir(parent) {
			if _, err := os.Stat(filepath.Join(parent, "go.mod")); err == nil || filepath.Base(parent) == "internal" {
				return
			}
		}
		if len(folders) == 0 || folders[len(folders)-1] != folder {
			folders = append(folders, folder)
		}
	})
	return folders
}

// walk calls visit for each file of the repository, folder by folder.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	var folders []string
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		hidden := len(entry.Name()) > 1 && entry.Name()[0] == '.' && entry.Name() != ".github"
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (hidden || entry.Name() == "testdata"):
			return fs.SkipDir
		case entry.IsDir():
			folders = append(folders, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if !entry.IsDir() {
				visit(filepath.Join(folder, entry.Name()))
			}
		}
	}
}

func documentation(t *testing.T, folder string) *doc.Package {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	pkg, err := doc.NewFromFiles(fset, files, filepath.ToSlash(folder))
	if err != nil {
		t.Fatal(err)
	}
	return pkg
}

func wantDoc(t *testing.T, name, text string) {
	t.Helper()
	if strings.TrimSpace(text) == "" {
		t.Errorf("%s has no doc comment", name)
	}
}

// wantFuncs wants a comment on each function and method, and an example of each
// function. The examples of a type show its methods.
func wantFuncs(t *testing.T, receiver string, funcs []*doc.Func) {
	t.Helper()
	for _, f := range funcs {
		wantDoc(t, receiver+f.Name, f.Doc)
		if receiver == "" && len(f.Examples) == 0 {
			t.Errorf("%s has no example: write Example%[1]s", f.Name)
		}
	}
}

// wantValues wants a comment on each constant and variable: on its group, above its name
// or after it.
func wantValues(t *testing.T, groups ...[]*doc.Value) {
	t.Helper()
	for _, values := range groups {
		for _, value := range values {
			for _, spec := range value.Decl.Specs {
				spec := spec.(*ast.ValueSpec)
				for _, name := range spec.Names {
					if name.IsExported() {
						wantDoc(t, name.Name, value.Doc+spec.Doc.Text()+spec.Comment.Text())
					}
				}
			}
		}
	}
}

func wantFields(t *testing.T, typ *doc.Type) {
	t.Helper()
	for _, spec := range typ.Decl.Specs {
		structure, ok := spec.(*ast.TypeSpec).Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, field := range structure.Fields.List {
			for _, name := range field.Names {
				if name.IsExported() {
					wantDoc(t, typ.Name+"."+name.Name, field.Doc.Text()+field.Comment.Text())
				}
			}
		}
	}
}
