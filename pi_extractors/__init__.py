"""Privileged information (PI) about an instance: text that a teacher may see and a student never.

Deployable sources can be had without knowing the solution, oracle sources come from it. Imports
`harness.records` and nothing else of the project.
"""
