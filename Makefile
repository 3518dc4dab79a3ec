# What a person types. The how is in localgalaxy/; nothing is installed outside of this folder.
LOCAL := python3 -m localgalaxy
RUN := .venvs/unet/bin/python -m
FOLD := .venvs/fold/bin/python -m
DEPLOY := .venvs/deploy/bin/python -m

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup system developer test test-isolation test-slurm test-pulsar test-toolshed test-containers images style pytest lint format demo galaxy locks repositories publish workflows clean

help:         ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo:         ## run the workflow in a real Galaxy: DATA=file.h5 or zenodo, EPOCHS=, FILTERS=, BATCH=
	@$(LOCAL) demo --data "$(DATA)" --epochs "$(EPOCHS)" --filters "$(FILTERS)" --batch "$(BATCH)"

galaxy:       ## run a Galaxy with our tools until Ctrl-C
	@$(LOCAL) galaxy

test: style pytest ## style, pytest, tools and workflows in a real Galaxy, hostile notebooks
	$(LOCAL) test
	$(LOCAL) isolation

test-isolation: ## let hostile notebooks try to break out of their containers; needs podman
	$(LOCAL) isolation

test-containers: ## test every tool and the package inside the images: TOOLS= some; needs podman
	$(LOCAL) containers $(TOOLS)

images:       ## build the images: IMAGES= some, VARIANT=cuda, BASE=hub, debian or an image's name
	@$(LOCAL) images $(IMAGES) --variant "$(or $(VARIANT),cpu)" --base "$(BASE)"

test-slurm:   ## run the tools through a Slurm cluster of this machine; needs slurm-wlm
	$(LOCAL) slurm

test-pulsar:  ## run the tools on a Pulsar that shares no file with Galaxy
	$(LOCAL) pulsar

test-toolshed: ## publish to a Tool Shed, install from it, test what is installed; ALL=1: every test
	$(LOCAL) toolshed $(if $(ALL),--all)

pytest: developer ## test the Python package and the repository
	$(RUN) pytest
	$(FOLD) pytest tests/fold
	$(DEPLOY) pytest -W ignore tests/deploy

style: developer ## check the Python code's style and types
	$(RUN) ruff check . && $(RUN) ruff format --check . && $(RUN) mypy --strict gpulab localgalaxy benchmarks

lint: style ## check style and types, tools, workflows and repositories; starts no Galaxy
	$(LOCAL) test --lint-only

format: developer ## write Python and XML files in the one form
	$(RUN) ruff check --fix . && $(RUN) ruff format . && $(LOCAL) format

setup:        ## make the virtual environments of Galaxy and the tools
	$(LOCAL) setup

system:       ## install the Debian packages that the tests of containers and Slurm run; needs root
	@$(LOCAL) system

developer:    ## make the virtual environments with the test programs
	@$(LOCAL) setup --tests

locks:        ## resolve the newest versions that locks/*.in and pyproject.toml allow
	$(LOCAL) locks

repositories: ## write the Tool Shed repositories to build/, as they would be published
	$(LOCAL) repositories

publish:      ## publish what changed: SHED=testtoolshed or toolshed, key in SHED_API_KEY
	$(LOCAL) publish "$(SHED)"

workflows:    ## write the workflows with a Tool Shed's ids to build/: SHED=toolshed
	$(LOCAL) release-workflows "$(SHED)"

clean:        ## remove Galaxy's state and what the demo made; keeps environments and downloads
	$(LOCAL) clean
