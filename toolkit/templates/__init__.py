"""What `toolkit new` begins with: a small working member of each family, called Mine, as a file to be changed.

They are modules like any other, so types, style and laws are checked; `toolkit new` writes them under another name.
"""
