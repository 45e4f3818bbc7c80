"""The pages for people: the playground. They are static, and use the public interface like any other caller."""
