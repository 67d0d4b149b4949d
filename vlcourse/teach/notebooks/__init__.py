"""From a lecture's source to its notebooks and pages, and the grading of students' notebooks."""
