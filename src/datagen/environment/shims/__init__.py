"""What a trainer imports of us: its own tool, reward and environment classes over our tools and our grading.

Each module belongs to one trainer and imports it; none of them is imported by anything else of this package.
"""
