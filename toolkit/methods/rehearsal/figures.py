from toolkit.report import View
REHEARSAL_VIEW=View()
